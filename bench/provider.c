// A provider that speaks OpenAI's wire format and costs almost nothing, so that what is measured is the gateway.
//
//   provider PACE_MS
//
// Listens on a free port of the loopback and prints it. Any POST is a chat completion; its content is always the same.
//   plain     a chat.completion of 1 KB
//   stream    100 chunks (role, 98 of content, finish), usage if asked for, [DONE], all at once
//   stream, if the prompt says SLOWLY    the same, PACE_MS between two chunks
// One thread, epoll. Ends with the process that started it.
#define _GNU_SOURCE
#include "timing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 4096
#define MAX_REQUEST 65536
#define SLOWLY "Take your time."
#define CONTENT_CHUNKS 98
#define PARTS (CONTENT_CHUNKS + 2)  // role, content, and one for all that ends the stream
#define IDENTITY "\"id\":\"chatcmpl-bench\",\"created\":1767225600,\"model\":\"bench\",\"system_fingerprint\":\"fp_bench\""
#define USAGE "{\"prompt_tokens\":120,\"completion_tokens\":98,\"total_tokens\":218," \
              "\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}"

typedef struct {
    char *bytes;
    size_t length;
} Buffer;

typedef struct {
    int fd;  // -1: free
    char *request;
    size_t received;
    const char *unsent;
    size_t unsent_length;
    int part;  // the next part of a paced stream; PARTS: none is going on
    int with_usage;
    int64_t due;
} Connection;

static Connection connections[MAX_CONNECTIONS];
static int highest = 0, paced_streams = 0, poller, timer;
static int64_t pace_ns;
static Buffer plain_answer, stream_head, parts[2][PARTS], burst[2];  // [with usage]

static void append(Buffer *buffer, const char *bytes, size_t length) {
    buffer->bytes = realloc(buffer->bytes, buffer->length + length);
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

static void append_event(Buffer *buffer, const char *payload) {
    char head[32];
    size_t size = strlen(payload) + strlen("data: \n\n");
    append(buffer, head, (size_t)sprintf(head, "%zx\r\ndata: ", size));
    append(buffer, payload, strlen(payload));
    append(buffer, "\n\n\r\n", 4);
}

static void append_chunk(Buffer *buffer, const char *delta, const char *finish) {
    char payload[512];
    sprintf(payload,
            "{\"object\":\"chat.completion.chunk\"," IDENTITY ",\"choices\":[{\"index\":0,\"delta\":%s,"
            "\"logprobs\":null,\"finish_reason\":%s}]}",
            delta, finish);
    append_event(buffer, payload);
}

// The load generator looks for the first and the last word.
static const char *word(int index) {
    static const char *words[] = {" a", " gateway", " carries", " each", " question", " to", " one", " model"};
    return index == 0 ? "Alpha" : index == CONTENT_CHUNKS - 1 ? " omega." : words[index % 8];
}

static void build_plain(void) {
    char content[2048] = "", body[4096], answer[5120];
    for (int i = 0; i < CONTENT_CHUNKS; i++) strcat(content, word(i));
    sprintf(body,
            "{\"object\":\"chat.completion\"," IDENTITY ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
            "\"content\":\"%s\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":" USAGE "}",
            content);
    sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", strlen(body), body);
    append(&plain_answer, answer, strlen(answer));
}

static void build_stream(int with_usage) {
    Buffer *part = parts[with_usage];
    char delta[64];
    append_chunk(&part[0], "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null");
    for (int i = 0; i < CONTENT_CHUNKS; i++) {
        sprintf(delta, "{\"content\":\"%s\"}", word(i));
        append_chunk(&part[1 + i], delta, "null");
    }
    append_chunk(&part[PARTS - 1], "{}", "\"stop\"");
    if (with_usage)
        append_event(&part[PARTS - 1], "{\"object\":\"chat.completion.chunk\"," IDENTITY ",\"choices\":[],\"usage\":" USAGE "}");
    append_event(&part[PARTS - 1], "[DONE]");
    append(&part[PARTS - 1], "0\r\n\r\n", 5);
    append(&burst[with_usage], stream_head.bytes, stream_head.length);
    for (int i = 0; i < PARTS; i++) append(&burst[with_usage], part[i].bytes, part[i].length);
}

static void build(void) {
    const char *head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    append(&stream_head, head, strlen(head));
    build_plain();
    build_stream(0);
    build_stream(1);
}

static void hang_up(Connection *connection) {
    if (connection->part < PARTS) paced_streams--;
    connection->part = PARTS;
    close(connection->fd);
    connection->fd = -1;
}

static void watch(Connection *connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(poller, operation, connection->fd, &event);
}

static void flush(Connection *connection) {
    ssize_t sent = send(connection->fd, connection->unsent, connection->unsent_length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        hang_up(connection);
        return;
    }
    if (sent > 0) {
        connection->unsent += sent;
        connection->unsent_length -= (size_t)sent;
    }
    watch(connection, EPOLL_CTL_MOD, connection->unsent_length ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void answer(Connection *connection, Buffer buffer) {
    ssize_t sent = send(connection->fd, buffer.bytes, buffer.length, MSG_NOSIGNAL);
    if (sent == (ssize_t)buffer.length) return;
    if (sent < 0 && errno != EAGAIN) {
        hang_up(connection);
        return;
    }
    connection->unsent = buffer.bytes + (sent > 0 ? sent : 0);
    connection->unsent_length = buffer.length - (size_t)(sent > 0 ? sent : 0);
    watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void start_paced(Connection *connection) {
    send(connection->fd, stream_head.bytes, stream_head.length, MSG_NOSIGNAL | MSG_MORE);
    connection->part = 0;
    connection->due = now_ns();
    paced_streams++;
}

static int contains(const char *text, size_t length, const char *wanted) {
    return memmem(text, length, wanted, strlen(wanted)) != 0;
}

// Returns the bytes of the first whole request, or 0 while it is not whole.
static size_t whole_request(Connection *connection, size_t *head_length) {
    char *end = memmem(connection->request, connection->received, "\r\n\r\n", 4);
    if (!end) return 0;
    *head_length = (size_t)(end - connection->request) + 4;
    size_t body_length = 0;
    for (char *line = connection->request; line < end;) {
        if (!strncasecmp(line, "content-length:", 15)) body_length = strtoul(line + 15, 0, 10);
        line = (char *)memchr(line, '\n', (size_t)(end + 2 - line)) + 1;
    }
    size_t whole = *head_length + body_length;
    return connection->received < whole ? 0 : whole;
}

static void serve(Connection *connection) {
    size_t head_length, whole;
    while (connection->fd >= 0 && connection->part == PARTS && !connection->unsent_length &&
           (whole = whole_request(connection, &head_length))) {
        char *request = connection->request, *body = request + head_length;
        size_t body_length = whole - head_length;
        int paced = contains(body, body_length, SLOWLY);
        int stream = contains(body, body_length, "\"stream\":true") || contains(body, body_length, "\"stream\": true");
        connection->with_usage =
            contains(body, body_length, "\"include_usage\":true") || contains(body, body_length, "\"include_usage\": true");
        connection->received -= whole;
        memmove(request, request + whole, connection->received);
        if (!stream) answer(connection, plain_answer);
        else if (paced) start_paced(connection);
        else answer(connection, burst[connection->with_usage]);
    }
}

static void receive(Connection *connection) {
    size_t room = MAX_REQUEST - connection->received;
    ssize_t count = room ? recv(connection->fd, connection->request + connection->received, room, 0) : 0;
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        hang_up(connection);
        return;
    }
    if (count > 0) connection->received += (size_t)count;
    serve(connection);
}

static void welcome(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        int slot = 0;
        while (slot < MAX_CONNECTIONS && connections[slot].fd >= 0) slot++;
        if (slot == MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        char *request = connections[slot].request ? connections[slot].request : malloc(MAX_REQUEST);
        connections[slot] = (Connection){.fd = fd, .request = request, .part = PARTS};
        if (slot >= highest) highest = slot + 1;
        watch(&connections[slot], EPOLL_CTL_ADD, EPOLLIN);
    }
}

// Sends what is due of the paced streams and sets the timer for what comes next.
static void advance_paced(void) {
    int64_t now = now_ns(), next = NEVER;
    for (int i = 0; i < highest && paced_streams; i++) {
        Connection *connection = &connections[i];
        if (connection->fd < 0 || connection->part == PARTS) continue;
        if (connection->due <= now && !connection->unsent_length) {
            answer(connection, parts[connection->with_usage][connection->part]);
            if (connection->fd < 0) continue;
            connection->due += pace_ns;
            if (++connection->part == PARTS) {
                paced_streams--;
                serve(connection);
                if (connection->fd < 0 || connection->part == PARTS) continue;
            }
        }
        // Whoever reads too slowly is tried again a little later.
        int64_t due = connection->due > now ? connection->due : now + pace_ns;
        if (due < next) next = due;
    }
    wake_at(timer, next);
}

static int listen_on_loopback(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) {
        perror("provider");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pace_ns = (int64_t)((count > 1 ? atof(arguments[1]) : 5.0) * 1e6);
    for (int i = 0; i < MAX_CONNECTIONS; i++) connections[i] = (Connection){.fd = -1, .part = PARTS};
    build();
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = listen_on_loopback();
    struct epoll_event of_listener = {.events = EPOLLIN, .data.ptr = &listener};
    struct epoll_event of_timer = {.events = EPOLLIN, .data.ptr = &timer};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &of_listener);
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &of_timer);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == &listener) {
                welcome(listener);
            } else if (events[i].data.ptr == &timer) {
                uint64_t expirations;
                if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) return 1;
            } else {
                Connection *connection = events[i].data.ptr;
                if (connection->fd >= 0 && events[i].events & EPOLLOUT) flush(connection);
                if (connection->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT) receive(connection);
                if (connection->fd >= 0 && connection->received) serve(connection);
            }
        }
        if (paced_streams) advance_paced();
    }
}
