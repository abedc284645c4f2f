"""Writes the dashboards: ``uv run python -m deploy.grafana.build``. Edit here, not in Grafana; a test compares the two.

Students appear only where the database is asked, by their pseudonyms; Prometheus doesn't know them.
"""

import json
from pathlib import Path

from deploy.grafana.panels import Json, Panel, Row, dashboard, variable

FOLDER = Path(__file__).parent / "dashboards"
RATE = "[$__rate_interval]"
ERRORS = 'outcome!~"ok|cached|rate_limited|disconnected|skipped"'
BREAKER = {0: "closed", 1: "half-open", 2: "open"}
COURSE = "coalesce(course, 'none') IN ($course)"
OF_COURSE = f"$__timeFilter(created_at) AND {COURSE}"
ERRED = "outcome NOT IN ('ok', 'cached', 'rate_limited', 'disconnected', 'skipped')"


def _percentile(share: float, metric: str, by: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate({metric}_bucket{RATE})))"


def operations() -> Json:
    server, call = "gen_ai_server_request_duration_seconds", "gen_ai_client_operation_duration_seconds"
    at_a_glance = Row("At a glance", [
        Panel("Requests", {"per second": "lumni:requests:rate5m"}, kind="stat", unit="reqps", width=4, height=4),
        Panel("Errors", {"share": "lumni:error_ratio:rate5m"}, kind="stat", unit="percentunit", width=4, height=4,
              red_from=0.05),
        Panel("Latency, P95", {"P95": "lumni:latency_seconds:p95_5m"}, kind="stat", unit="s", width=4, height=4),
        Panel("Overhead, P95", {"P95": "lumni:overhead_seconds:p95_5m"}, kind="stat", unit="s", width=4, height=4,
              red_from=0.1, description="What Lumni itself adds: no waiting in line, no provider."),
        Panel("Quota overruns", {"requests": "sum(lumni_quota_overrun_requests)"}, kind="stat", width=4, height=4,
              red_from=1, description="Requests beyond a configured limit. Must be 0."),
        Panel("Stores", {"{{store}}": "min by (store) (lumni_store_up)"}, kind="stat", width=4, height=4,
              red_below=1, mappings={0: "down", 1: "up"}),
    ])  # fmt: skip
    requests = Row("Requests of clients, and calls of providers", [
        Panel("Requests by outcome", {"{{outcome}}": f"sum by (outcome) (rate(lumni_client_responses_total{RATE}))"},
              unit="reqps", stacked=True),
        Panel("Calls by outcome", {"{{outcome}}": f"sum by (outcome) (rate(lumni_upstream_attempts_total{RATE}))"},
              unit="reqps", stacked=True),
        Panel("Failed calls by provider",
              {"{{provider}}": f"sum by (provider) (rate(lumni_upstream_attempts_total{{{ERRORS}}}{RATE}))"},
              unit="reqps"),
        Panel("Latency", {f"P{round(100 * share)}": _percentile(share, server) for share in (0.5, 0.95, 0.99)},
              unit="s"),
        Panel("Time to first token, P95",
              {"{{gen_ai_provider_name}}": _percentile(
                  0.95, "gen_ai_server_time_to_first_token_seconds", ", gen_ai_provider_name")}, unit="s"),
        Panel("Calls, P95",
              {"{{gen_ai_provider_name}}": _percentile(0.95, call, ", gen_ai_provider_name")}, unit="s"),
        Panel("Models asked for", {"{{model}}": f"sum by (model) (rate(lumni_requested_models_total{RATE}))"},
              unit="reqps", stacked=True),
        Panel("Tasks", {"{{task_type}}": f"sum by (task_type) (rate(lumni_decisions_total{RATE}))"}, unit="reqps",
              stacked=True),
        Panel("Chosen first", {"{{deployment}}": f"sum by (deployment) (rate(lumni_decisions_total{RATE}))"},
              unit="reqps", stacked=True),
    ])  # fmt: skip
    inside = Row("Inside", [
        Panel("In line for quota", {"waiting": "sum(lumni_queue_depth)"}),
        Panel("Waiting time", {"P95": _percentile(0.95, "lumni_queue_wait_seconds")}, unit="s"),
        Panel("Overhead", {f"P{round(100 * share)}": _percentile(share, "lumni_overhead_seconds")
                           for share in (0.5, 0.95, 0.99)}, unit="s"),
        Panel("Breakers", {"{{deployment}}": "max by (deployment) (lumni_breaker_state)"}, kind="state-timeline",
              red_from=2, mappings=BREAKER),
        Panel("Records", {"waiting": "sum(lumni_records_pending)", "lost": "sum(lumni_records_lost_total)"}),
        Panel("Exports", {
            "{{to}}: waiting": "sum by (to) (lumni_export_pending)",
            "{{to}}: {{outcome}}/s": f"sum by (to, outcome) (rate(lumni_exports_total{RATE}))",
            "{{to}}: failed calls/s": f"sum by (to) (rate(lumni_export_failures_total{RATE}))",
        }),
        Panel("Plans that failed", {"{{step}}": f"sum by (step) (increase(lumni_plan_faults_total{RATE}))"},
              red_from=1),
        Panel("CPU", {"{{instance}}": f"rate(process_cpu_seconds_total{RATE})"}, unit="percentunit"),
        Panel("Memory", {"{{instance}}": "process_resident_memory_bytes"}, unit="bytes"),
        Panel("Open files", {"open": "process_open_fds", "most": "process_max_fds"}),
        Panel("Program", {"": "lumni_build_info"}, kind="table", width=16),
    ])  # fmt: skip
    cache = Row("Response cache", [
        Panel("Requests by what was kept",
              {"{{result}}": f"sum by (result) (rate(lumni_cache_requests_total{RATE}))"}, unit="reqps", stacked=True),
        Panel("Hit rate", {"share": f'sum(rate(lumni_cache_requests_total{{result="hit"}}{RATE})) / '
                                    f'sum(rate(lumni_cache_requests_total{{result=~"hit|miss"}}{RATE}))'},
              unit="percentunit"),
        Panel("Saved", {"tokens/s": f"sum(rate(lumni_cache_saved_tokens_total{RATE}))"}),
        Panel("Saved, by list price", {"USD": "sum(lumni_cache_saved_usd_total)"}, unit="currencyUSD", kind="stat"),
        Panel("Answers in memory", {"answers": "sum(lumni_cache_entries)"}),
        Panel("Faults of the store", {"faults": f"sum(increase(lumni_cache_faults_total{RATE}))"}, red_from=1),
    ])  # fmt: skip
    return dashboard("lumni-operations", "Lumni: operations", [at_a_glance, requests, cache, inside])


def quota() -> Json:
    share = "lumni_quota_remaining / (lumni_quota_limit > 0)"
    window = "{{pool}} {{kind}}/{{period}} s"
    windows = Row("Quota of providers", [
        Panel("Left", {window: "lumni:quota_left:ratio"}, kind="bargauge", unit="percentunit", width=16, height=12,
              highest=1, red_below=0.2),
        Panel("Deployments", {"{{state}}": "sum by (state) (lumni_deployments)"}, kind="piechart", height=12),
        Panel("Left over time", {window: share}, unit="percentunit", width=12, highest=1),
        Panel("Used and held", {window: "lumni_quota_used + lumni_quota_reserved"}, width=12),
        Panel("Windows", {
            "limit": "lumni_quota_limit", "used": "lumni_quota_used", "held": "lumni_quota_reserved",
            "left": "lumni_quota_remaining", "new in": "lumni_quota_reset_seconds",
            "closed for": "lumni_quota_blocked_seconds", "overrun": "lumni_quota_overrun_requests",
        }, kind="table", width=24, height=12),
    ])  # fmt: skip
    tokens = f"sum by (provider, type) (rate(lumni_tokens_total{RATE}))"
    use = Row("Use", [
        Panel("Room of deployments", {"{{deployment}}": "min by (deployment) (lumni_deployment_headroom)"},
              unit="percentunit", highest=1),
        Panel("Refused for quota", {"{{provider}}": "sum by (provider) "
              f'(rate(lumni_upstream_attempts_total{{outcome="rate_limited"}}{RATE}))'}, unit="reqps"),
        Panel("Tokens", {"{{provider}} {{type}}": tokens}, unit="short"),
        Panel("Tokens of one answer, P95", {"{{gen_ai_token_type}}": _percentile(
            0.95, "gen_ai_client_token_usage", ", gen_ai_token_type")}),
        Panel("Cost, by price", {"{{price}}": "sum by (price) (increase(lumni_cost_usd_total[1d]))"}, kind="stat",
              unit="currencyUSD"),
        Panel("Tokens of courses", {"{{course}}": "sum by (course) (increase(lumni_course_tokens_total[1d]))"},
              kind="bargauge"),
        Panel("Budgets of courses", {"{{course}} {{budget}}": "max by (course, budget) (lumni_course_budget_used / "
              "(lumni_course_budget_limit > 0))"}, kind="bargauge", unit="percentunit", highest=1, red_from=0.8),
        Panel("Cost of courses", {"{{course}}": 'sum by (course) (increase(lumni_course_cost_usd_total'
              '{price="list"}[1d]))'}, kind="bargauge", unit="currencyUSD"),
    ])  # fmt: skip
    return dashboard("lumni-quota", "Lumni: quota", [windows, use])


def teacher() -> Json:
    usd = "1e9::numeric"  # nano-USD in one US dollar
    figures = Row("The class", [
        Panel("Requests", sql=f"SELECT count(*) AS requests FROM requests WHERE {OF_COURSE}", kind="stat", width=4,
              height=4),
        Panel("Students", sql="SELECT count(DISTINCT coalesce(student, label, key_id)) AS students FROM requests "
              f"WHERE {OF_COURSE}", kind="stat", width=4, height=4),
        Panel("Tokens", sql="SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) AS tokens FROM requests "
              f"WHERE {OF_COURSE}", kind="stat", width=4, height=4),
        Panel("Worth, by list price", sql=f"SELECT coalesce(sum(list_cost), 0) / {usd} AS usd FROM requests "
              f"WHERE {OF_COURSE}", kind="stat", unit="currencyUSD", width=4, height=4),
        Panel("Billed", sql=f"SELECT coalesce(sum(billed_cost), 0) / {usd} AS usd FROM requests WHERE {OF_COURSE}",
              kind="stat", unit="currencyUSD", width=4, height=4),
        Panel("Errors", sql=f"SELECT coalesce(avg(({ERRED})::int), 0) AS share FROM requests WHERE {OF_COURSE}",
              kind="stat", unit="percentunit", width=4, height=4, red_from=0.05),
        Panel("Requests over time", sql='SELECT $__timeGroupAlias(created_at, $__interval), outcome AS metric, '
              f"count(*) AS requests FROM requests WHERE {OF_COURSE} GROUP BY 1, 2 ORDER BY 1", width=16,
              stacked=True),
        Panel("Tasks", sql="SELECT coalesce(task_type, 'none') AS task, count(*) AS requests FROM requests "
              f"WHERE {OF_COURSE} GROUP BY 1 ORDER BY 2 DESC", kind="piechart"),
    ])  # fmt: skip
    people = Row("Who, what, and what went wrong", [
        Panel("Students", sql=f"""SELECT coalesce(student, label, key_id) AS student, count(*) AS requests,
  sum(prompt_tokens + completion_tokens) AS tokens, sum(list_cost) / {usd} AS "list price, USD",
  count(*) FILTER (WHERE {ERRED}) AS errors, count(*) FILTER (WHERE outcome = 'rate_limited') AS "limits reached",
  max(created_at) AS last
FROM requests WHERE {OF_COURSE} GROUP BY 1 ORDER BY 2 DESC LIMIT 500""", kind="table", width=12, height=12),
        Panel("Models", sql=f"""SELECT model, count(*) AS answers, sum(prompt_tokens + completion_tokens) AS tokens,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS "median, ms",
  percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS "P95, ms", sum(list_cost) / {usd} AS "list price, USD"
FROM requests WHERE model IS NOT NULL AND {OF_COURSE} GROUP BY 1 ORDER BY 2 DESC LIMIT 100""", kind="table",
              width=12, height=12),
        Panel("Latest failures", sql=f"""SELECT created_at AS time, coalesce(student, label, key_id) AS student,
  surface, status, outcome, error_code, request_id
FROM requests WHERE {ERRED.replace("'rate_limited', ", "")} AND {OF_COURSE} ORDER BY created_at DESC LIMIT 50""",
              kind="table", width=24, height=10),
    ])  # fmt: skip
    courses = variable("course", "Course", "SELECT id FROM courses UNION SELECT 'none' ORDER BY 1")
    return dashboard("lumni-teacher", "Lumni: teacher", [figures, people], [courses], since="7d")


def texts() -> dict[str, str]:
    """The files' contents by their names."""
    made = {"operations": operations(), "quota": quota(), "teacher": teacher()}
    return {f"{name}.json": json.dumps(one, indent=1, ensure_ascii=False) + "\n" for name, one in made.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
