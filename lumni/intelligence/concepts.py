"""What a student may ask for, as word stems in the sixteen languages of training/classroom.

A word ending in ``*`` is a stem: any word that starts so counts. Other words count whole. What stands between bars is
a phrase; words of scripts that don't set words apart by spaces are found anywhere in the text. All in lower case.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import chain
from typing import NamedTuple

CONCEPTS: Mapping[str, str] = {
    "prove": """prove* proof* proving disprove* lemma theorem* corollary beweis* beweise* zeige widerleg*
        prouve* démontr* demontr* preuve* demuestr* demostra* prueba mostre prove* demonstr* prova* dimostr*
        доказ* докаж* доведи* довед* доведіть доказать bewijs* udowodn* dowód dowod* kanıtla* ispatla* ispat*
        证明 証明 示せ 증명 सिद्ध साबित أثبت برهن إثبات |show that |zeige, dass |zeig dass |montrer que
        |mostra che""",
    "derive": """derive* derivation herleit* leite dériver dérivation deduc* deduz* dedurre ricava* derivar
        вывед* выведи вивед* afleid* leid wyprowad* türet* 推导 導出 導け 유도 व्युत्पन्न اشتق""",
    "compute": """calculate* compute* determine solve* evaluate find berechn* bestimm* löse rechne calcul*
        résou* trouve* calcula* resuelv* hallar encuentra determin* resolv* calcole* risolv* trova вычисл* реши*
        найди* найдите посчита* обчисл* знайди* розв* bereken* bepaal oblicz* rozwiąż* wyznacz* hesapla* bul
        çöz* 计算 求 解 計算 求め 解け 계산 구하 구해 गणना ज्ञात احسب أوجد جد حل""",
    "why": """why warum wieso weshalb pourquoi porqué perché perchè почему зачем чому waarom dlaczego neden
        niçin niye 为什么 为何 なぜ どうして 왜 क्यों لماذا |por qué |por que |how come""",
    "explain": """explain* erklär* erläuter* expliqu* explica* explíca* explique* spieg* объясн* поясн* uitleg*
        leg wyjaśn* wytłumacz* açıkla* anlat 解释 说明 説明 설명 समझा* اشرح فسر""",
    "compare": """compar* contrast* versus vs difference* differ* tradeoff* vergleich* unterschied* différence*
        diferenc* differenz* confront* сравн* отлич* разниц* порівн* різниц* vergelijk* verschil* porówn*
        różnic* karşılaştır* fark* 比较 区别 比較 違い 비교 차이 तुलना अंतर قارن الفرق |pros and cons |trade-off""",
    "design": """design* architect* plan planning roadmap strateg* schedul* entwirf entwurf entwerf* konzept*
        conçoi* conce* diseñ* planifica* projet* projeta* progett* спроект* план спланир* склад* ontwerp*
        plannen zaprojekt* zaplan* tasarla* planla* 设计 规划 計画 設計 설계 계획 डिज़ाइन योजना صمم خطة""",
    "write": """write* implement* create* build* generat* schreib* erstell* implementier* écri* écrire rédige*
        escrib* implementa* escrev* scriv* напиш* реализ* реалізуй* schrijf* napisz* zaimplementuj yaz yazın 写
        编写 实现 書い 書け 作成 実装 작성 써 구현 लिख* اكتب""",
    "fix": """fix* debug* bug bugs error* wrong crash* fail* traceback exception* fehler* falsch repar* corrige*
        erreur* error falla* errore* ошибк* исправ* помилк* виправ* fout* błąd* popraw* hata* düzelt* 错误 修复
        バグ エラー 오류 버그 त्रुटि गलती خطأ |doesn't work |not working |does not work""",
    "translate": """translat* übersetz* tradui* traduc* traduz* tradur* traduci перевед* перевод переклад*
        vertaal* przetłumacz* çevir* 翻译 翻訳 訳し 번역 अनुवाद ترجم""",
    "summarise": """summar* tldr shorten zusammenfass* fasse résum* resum* riassum* кратко резюм* підсумуй*
        стисло samenvat* vat streść* podsumuj* özetle* özet 总结 概括 要約 まとめ 요약 सारांश لخص""",
    "rewrite": """rewrite* rephras* reword* paraphras* proofread* spelling grammar correct* polite* formal*
        umformulier* formulier* korrigier* reformul* corrig* reescrib* reescrev* riscriv* correggi перефраз*
        перепиш* herschrijf* verbeter* przeredaguj* przepisz düzenle* 改写 润色 改成 書き直 言い換え 고쳐 바꿔
        सुधार* أعد صحح""",
    "define": """define* definition* meaning mean means bedeut* definier* définiti* signifi* defin* significa*
        что что-такое означа* wat betekent* znaczy demek nedir 是什么 什么是 意思 とは 뜻 무엇 क्या ما معنى
        |what is |what are |what's |whats |was ist |qu'est-ce |qué es |o que é |cos'è |cosa è |che cos
        |что такое |що таке |wat is |co to |stand for |ne demek""",
    "who": """who whom whose when where wer wann wo qui quand où quién cuándo dónde quem quando onde chi dove
        кто когда где хто коли де wie wanneer waar kto kiedy gdzie kim 谁 哪里 什么时候 誰 いつ どこ 누가 언제
        어디 कौन कब कहाँ من متى أين""",
    "how_many": """count* how-many anzahl combien cuántos cuántas quantos quantas quanti quante сколько скільки
        hoeveel ile kaç 多少 几个 いくつ 何個 몇 कितने كم |how many |how much |wie viele |wie viel""",
    "yes_no": """is are does do can could was were did will should ist sind kann hat soll est-ce es son puede é
        são pode è sono può czy mi mı mu mü 吗 ですか ますか 인가 나요 까요 क्या هل ли чи |true or false""",
    "name": """name list give tell nenne liste nenn gib donne cite dame nombra lista diga dê cite dimmi elenca
        dai назови перечисл* назви noem geef podaj wymień söyle listele 列出 给 说出 挙げ 教え 알려 나열 बताओ
        बताइए اذكر أعط""",
    "greet": """hi hello hey morning bye hallo tschüss bonjour salut hola buenas adiós olá oi ciao buongiorno
        привет здравств* пока привіт вітаю hoi dag cześć hej merhaba selam 你好 您好 再见 こんにちは おはよう
        안녕 नमस्ते مرحبا السلام |good morning |good night |how are you""",
    "thank": """thanks thank thx ty cheers danke merci gracias obrigad* grazie спасибо дяку* bedankt dank dzięk*
        teşekkür* sağ 谢谢 ありがとう 고마워 감사 धन्यवाद शुक्रिया شكرا""",
    "restrict": """exactly precisely only without must never avoid genau exakt ohne nur muss exactement sans
        seulement doit exactamente sin solo sólo debe exatamente sem apenas deve esattamente senza deve ровно
        без только должн* рівно лише precies zonder alleen moet dokładnie bez tylko tam sadece olmadan 恰好 正好
        不得 不能 必须 ちょうど のみ なしで 정확히 없이 반드시 ठीक बिना केवल بالضبط بدون فقط |at least |at most
        |no more than |such that |mindestens |höchstens |au moins |au plus |al menos |a lo sumo""",
    "each": """each every all any arbitrary general jede* alle* beliebig* chaque tout* tous toutes cada todo*
        qualquer ogni tutti любо* кажд* все* кожн* elke ieder* każd* dowoln* her bütün 每 任意 所有 各 すべて
        任意の 모든 임의 हर सभी كل جميع""",
    "exists": """exist* unique* infinit* finite* existiert eindeutig unendlich* existe* único infinito*
        unendlich существу* единствен* бесконечн* існу* нескінченн* bestaa* oneindig* istniej* nieskończ*
        sonsuz* 存在 唯一 无穷 無限 존재 무한 अनंत لانهائي |if and only if |genau dann""",
    "extreme": """optimal* minim* maxim* shortest longest largest smallest fastest best worst bound* tight*
        kürzest* größt* kleinst* mínim* máxim* оптимал* минимал* максимал* наименьш* наибольш* мінімал* kleinste
        grootste najmniej* najwięk* en-kısa 最小 最大 最短 最优 最適 최소 최대 최적 न्यूनतम अधिकतम أصغر أكبر""",
    "chance": """probab* expect* random* dice die coin* variance* distribution* bayes* wahrscheinlich* würfel*
        erwartung* varianz* espérance* aléatoire* dé dés esperanza esperad* esperança dado* moneta* случайн*
        вероятн* ожидан* ймовірн* очікуван* kans verwacht* prawdopod* oczekiwan* olasılık* zar beklenen 概率
        期望 随机 骰子 確率 期待値 サイコロ 확률 기댓값 주사위 प्रायिकता अपेक्षित احتمال""",
    "concurrent": """concurren* thread* lock* deadlock* race atomic* async* parallel* distribut* consisten*
        transaction* idempoten* nebenläufig* verteilt* concurren* concorren* потокобезопас* блокировк* 并发
        分布式 线程 並行 分散 동시 분산 متزامن""",
    "complex": """complexity amortiz* amortis* recurs* invariant* asymptot* komplexität* laufzeit* complexité*
        complejidad* complexidade* complessità сложност* складніст* complexiteit złożonoś* karmaşıklı* 复杂度
        計算量 복잡도 जटिलता تعقيد |big-o |o(n |o(log""",
    "algebra": """matri* eigen* integral* derivativ* polynom* modul* prime* equation* gradient* vector*
        determinant* norm converge* limit* continu* series rank group* field* graph* primzahl* ableitung*
        gleichung* dérivée* équation* ecuaci* primos equaç* equazion* matriz* матриц* производн* уравнен*
        интеграл* простых похідн* рівнян* afgeleide* pochodn* równan* türev* denklem* asal* 矩阵 导数 积分 素数
        方程 行列 微分 積分 方程式 행렬 미분 적분 소수 방정식 आव्यूह अवकलज समीकरण مصفوفة مشتقة معادلة""",
    "learn": """model* train* neural* network* softmax* transformer* attention* embedding* token* overfit* loss
        regularis* regulariz* gradient* backprop* rag retriev* prompt* agent* llm* modell* lernrate* apprentiss*
        modèle* aprendiz* modelo* modello* модел* обучен* навчан* uczen* öğrenme* 模型 训练 神经 学習 モデル
        모델 학습 मॉडल نموذج""",
    "code": """code* function* python* class* method* script* sql query* regex* javascript* java rust bash git
        algorithm* funktion* fonction* función* funciones função* funzion* функци* функці* скрипт* functie*
        funkcj* fonksiyon* 代码 函数 コード 関数 코드 함수 कोड فंक्शन دالة كود""",
    "suppose": """suppose assume* given if let wenn angenommen sei si soit supposons supongamos sea se seja
        supponiamo если пусть дано якщо нехай als stel gegeven jeśli niech dany eğer olsun 如果 假设 设 もし
        とする 만약 라고 यदि मान إذا ليكن لنفترض""",
    "brief": """one-sentence short* brief* kurz* court* brève* corto* breve* curt* короч* коротк* kort* krótk*
        kısa* 简短 一句话 短く 一言 짧게 |한 문장 |in one sentence |one word |one line |in einem satz
        |en une phrase |en una frase |संक्षेप |باختصار""",
    "creative": """story poem* rhyme* haiku* sonnet* limerick* essay* joke* gedicht* reim* geschichte* poème*
        histoire* poema* cuento* poesia* storia* стих* рассказ* рифм* вірш* gedicht* wiersz* rym* şiir* hikaye*
        诗 故事 押韵 詩 俳句 物語 시를 이야기 운율 कविता कहानी قصيدة قصة""",
    "steps": """step* then next finally first* second* schritt* zuerst dann étape* puis ensuite paso* luego
        después passo* depois poi шаг* затем потом крок* потім stap* daarna krok* potem adım* sonra 步骤 然后
        手順 次に 단계 다음 चरण फिर خطوة ثم""",
    "search": """find-all all-pairs counterexample* construct* enumerat* puzzle* riddle* gegenbeispiel* rätsel*
        contre-exemple* contraejemplo* contraexemplo* controesempi* контрпример* контрприклад* головолом*
        tegenvoorbeeld* kontrprzykład* 反例 构造 谜 構成 パズル 반례 퍼즐 प्रतिउदाहरण |مثال مضاد""",
    "justify": """justify* argue* reason* evidence* critic* critique* analy* assess* evaluat* begründ* bewert*
        justifi* argument* analis* justifiq* обоснуй* анализ* оцен* обґрунт* аналіз* onderbouw* beoordeel*
        uzasadn* oceń* gerekçe* analiz* 论证 分析 评估 論じ 評価 분석 논증 평가 विश्लेषण حلل برر""",
    "meta": """word words letter* pronounce* rhymes syllable* spell* wort buchstabe* mot lettre* palabra* letra*
        palavra* parola* lettera слов* букв* літер* woord* letter* słow* liter* kelime* harf* 这个词 字 単語
        文字 단어 글자 शब्द كلمة حرف""",
}

_LETTERS = re.compile(r"[^\W\d_]+")
UNSPACED = re.compile(r"[\u0600-\u1fff\u3040-\ud7ff]")
"""Scripts where spaces don't set words apart, or words carry prefixes: Arabic, Indic, Chinese, Japanese, Korean."""

Table = Mapping[str, tuple[int, ...]]
Entries = Mapping[str, tuple[tuple[str, tuple[int, ...]], ...]]
REMEMBERED = 1 << 14  # words, about 2 MB


class Lookup(NamedTuple):
    """``CONCEPTS`` turned around, to the concepts' places: whole words, stems by their first letters, phrases by their
    first word (``seconds`` has their second ones), and what stands in other scripts by its first character. ``known``
    remembers what words meant, by hash.
    """

    words: Table
    stems: Entries
    phrases: Entries
    seconds: Mapping[str, str]
    unspaced: Entries
    known: dict[int, tuple[int, ...]]


HEAD = 3
"""Letters of the shortest stem: all stems are looked up by so many."""


@cache
def lookup() -> Lookup:
    """Built once: it holds nothing but what stands above."""
    words: dict[str, tuple[int, ...]] = {}
    stems: dict[str, tuple[int, ...]] = {}
    phrases: dict[str, tuple[int, ...]] = {}
    unspaced: dict[str, tuple[int, ...]] = {}
    for place, entries in enumerate(CONCEPTS.values()):
        spaced, *rest = entries.split("|")
        for entry in (*spaced.split(), *(" ".join(phrase.split()) for phrase in rest)):
            table = (
                unspaced
                if UNSPACED.match(entry)
                else phrases
                if " " in entry
                else stems
                if entry.endswith("*")
                else words
            )
            key = entry.rstrip("*")
            table[key] = (*table.get(key, ()), place)
    split = {phrase: _LETTERS.findall(phrase) for phrase in phrases}
    return Lookup(
        words=words,
        stems=_by_head(stems, lambda stem: stem[:HEAD]),
        phrases=_by_head(phrases, lambda phrase: split[phrase][0]),
        seconds={phrase: parts[1] for phrase, parts in split.items()},
        unspaced=_by_head(unspaced, lambda word: word[0]),
        known={},
    )


def _by_head(table: Table, head: Callable[[str], str]) -> Entries:
    heads: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {}
    for entry, places in table.items():
        heads[head(entry)] = (*heads.get(head(entry), ()), (entry, places))
    return heads


def concepts_in(distinct: frozenset[str], lower: str, beyond: str) -> list[int]:
    """The places in ``CONCEPTS`` of those that occur in a text, ascending.

    ``lower`` is the text in lower case, with the ``distinct`` words; ``beyond`` what of it isn't ASCII.
    """
    tables = lookup()
    meanings = set(map(tables.known.get, map(hash, distinct)))
    found = {place for places in meanings if places for place in places}
    if None in meanings:
        new = [word for word in distinct if hash(word) not in tables.known]
        found.update(*(_meaning(word, tables) for word in new))
    for first in tables.phrases.keys() & distinct:
        for phrase, places in tables.phrases[first]:
            if tables.seconds[phrase] in distinct and phrase in lower:
                found.update(places)
    characters = set(beyond)
    for head in tables.unspaced.keys() & characters:
        for phrase, places in tables.unspaced[head]:
            if characters.issuperset(phrase) and phrase in beyond:
                found.update(places)
    return sorted(found)


def _meaning(word: str, tables: Lookup) -> tuple[int, ...]:
    """The places of a word, remembered without the word."""
    stems = (places for stem, places in tables.stems.get(word[:HEAD], ()) if word.startswith(stem))
    found = tuple({*tables.words.get(word, ()), *chain.from_iterable(stems)})
    if len(tables.known) >= REMEMBERED:
        tables.known.clear()
    tables.known[hash(word)] = found
    return found
