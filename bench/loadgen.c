// A load generator over HTTP/1.1 keep-alive connections that checks every answer and costs little itself.
//
//   loadgen -p PORT -u PATH -k KEY -b BODY_FILE -c CONNECTIONS -d SECONDS [-n REQUESTS] [-r RATE] [-e EVENTS]
//           [-a FIRST] [-z LAST] [-s] [-h "NAME: VALUE"]... [-x N]
//
// Closed loop: every connection sends its next request as soon as it has its answer. With -r open loop: RATE requests a
// second whether or not answers come; a request that finds no idle connection waits, and its latency counts from when
// it was due. Ends after SECONDS or REQUESTS, then waits for what is on its way.
// An answer is right if its status is 200, it ended as HTTP says, it contains LAST and, with -e, it has at least EVENTS
// `data:` lines and ends in `data: [DONE]`. Prints one JSON object; times are in milliseconds. With -s also every
// latency, every time until FIRST was there, and every time between two arrivals of an answer after that. With -x every
// N-th request is hung up on once FIRST is there, which is no error. Ends with the process that started it.
#define _GNU_SOURCE
#include "timing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_ANSWER (1 << 20)
#define MAX_HEAD 16384
#define DRAIN_SECONDS 30

typedef enum { IN_HEAD, IN_BODY, IN_SIZE, IN_CHUNK, AFTER_CHUNK, IN_TRAILER } State;

typedef struct {
    int fd, busy, status;
    State state;
    int64_t due, first, latest;  // latest: when something of the answer last came, after FIRST
    long number;
    char *head, *body;
    size_t head_length, body_length, wanted;  // wanted: bytes still to come of the body or of a chunk
    size_t line_length;
} Connection;

typedef struct {
    long sent, done, errors, reconnects, aborted, gaps;
    char error[160];
    double *latency_ms, *first_ms, *gap_ms;
    size_t capacity, gap_capacity;
} Tally;

static struct {
    int port, connections, samples;
    char headers[1024];
    const char *path, *key, *first, *last;
    double seconds, rate;
    long requests, events, abort_every;
} options = {.connections = 1, .path = "/v1/chat/completions", .key = "", .first = "", .last = "", .seconds = 1};

static Tally tally;
static Connection *connections;
static char *request;
static size_t request_length;
static int poller;

static void connect_to_server(Connection *connection) {
    int yes = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("loadgen: connect");
        exit(2);
    }
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
}

static void reconnect(Connection *connection) {
    close(connection->fd);
    connect_to_server(connection);
    tally.reconnects++;
}

static void ask(Connection *connection, int64_t due) {
    connection->busy = 1;
    connection->status = 0;
    connection->state = IN_HEAD;
    connection->due = due;
    connection->first = connection->latest = 0;
    connection->head_length = connection->body_length = connection->wanted = 0;
    connection->number = ++tally.sent;
    for (size_t sent = 0; sent < request_length;) {
        ssize_t count = send(connection->fd, request + sent, request_length - sent, MSG_NOSIGNAL);
        if (count <= 0) return;  // the server hung up; the read that follows counts the error
        sent += (size_t)count;
    }
}

static const char *fault(Connection *connection, int ended) {
    char *body = connection->body;
    size_t length = connection->body_length;
    if (connection->status != 200) return "status is not 200";
    if (!ended) return "the answer broke off";
    if (!memmem(body, length, options.last, strlen(options.last))) return "the end of the content is missing";
    if (!options.events) return 0;
    const char *done = "data: [DONE]\n\n";
    if (length < strlen(done) || memcmp(body + length - strlen(done), done, strlen(done))) return "no [DONE] at the end";
    long events = 0;
    for (char *at = body; (at = memmem(at, (size_t)(body + length - at), "data: {", 7)); at += 7) events++;
    return events < options.events ? "too few events" : 0;
}

static void finish(Connection *connection, int ended) {
    int64_t now = now_ns();
    const char *why = fault(connection, ended);
    connection->busy = 0;
    if (why && !tally.errors++)
        snprintf(tally.error, sizeof tally.error, "%s (status %d, %zu bytes)", why, connection->status, connection->body_length);
    if ((size_t)tally.done == tally.capacity) {
        tally.capacity = tally.capacity ? 2 * tally.capacity : 4096;
        tally.latency_ms = realloc(tally.latency_ms, tally.capacity * sizeof(double));
        tally.first_ms = realloc(tally.first_ms, tally.capacity * sizeof(double));
    }
    int64_t first = connection->first ? connection->first : now;
    tally.latency_ms[tally.done] = (double)(now - connection->due) / 1e6;
    tally.first_ms[tally.done++] = (double)(first - connection->due) / 1e6;
    if (!ended || strcasestr(connection->head, "\r\nconnection: close")) reconnect(connection);
}

static void keep(Connection *connection, const char *bytes, size_t length) {
    size_t room = MAX_ANSWER - connection->body_length;
    if (length > room) length = room;
    memcpy(connection->body + connection->body_length, bytes, length);
    connection->body_length += length;
}

// Takes what came of the head; returns the bytes used.
static size_t read_head(Connection *connection, const char *bytes, size_t length) {
    size_t before = connection->head_length, room = MAX_HEAD - before;
    size_t taken = length < room ? length : room;
    memcpy(connection->head + before, bytes, taken);
    connection->head_length += taken;
    connection->head[connection->head_length] = 0;
    char *end = strstr(connection->head, "\r\n\r\n");
    if (!end) return length;
    end[2] = 0;
    connection->status = atoi(connection->head + strlen("HTTP/1.1 "));
    char *announced = strcasestr(connection->head, "\r\ncontent-length:");
    connection->state = announced ? IN_BODY : IN_SIZE;
    connection->wanted = announced ? strtoul(announced + strlen("\r\ncontent-length:"), 0, 10) : 0;
    return (size_t)(end + 4 - connection->head) - before;
}

// One step of the chunked coding; returns the bytes used.
static size_t read_chunked(Connection *connection, const char *bytes, size_t length) {
    char byte = *bytes;
    if (connection->state == IN_CHUNK) {
        size_t taken = length < connection->wanted ? length : connection->wanted;
        keep(connection, bytes, taken);
        if (!(connection->wanted -= taken)) connection->state = AFTER_CHUNK;
        return taken;
    }
    if (connection->state == AFTER_CHUNK && byte == '\n') {
        connection->state = IN_SIZE;
    } else if (connection->state == IN_SIZE && byte == '\n') {
        connection->state = connection->wanted ? IN_CHUNK : IN_TRAILER;
        connection->line_length = 0;
    } else if (connection->state == IN_SIZE && byte != '\r') {
        int digit = byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10;
        connection->wanted = connection->wanted * 16 + (size_t)digit;
    }
    return 1;
}

// The client has heard enough.
static void hang_up(Connection *connection) {
    connection->busy = 0;
    tally.aborted++;
    close(connection->fd);
    connect_to_server(connection);
}

static void note_gap(Connection *connection) {
    int64_t now = now_ns();
    if (connection->latest) {
        if ((size_t)tally.gaps == tally.gap_capacity) {
            tally.gap_capacity = tally.gap_capacity ? 2 * tally.gap_capacity : 4096;
            tally.gap_ms = realloc(tally.gap_ms, tally.gap_capacity * sizeof(double));
        }
        tally.gap_ms[tally.gaps++] = (double)(now - connection->latest) / 1e6;
    }
    connection->latest = now;
}

static void take(Connection *connection, const char *bytes, size_t length) {
    while (length && connection->busy) {
        size_t used = 1;
        if (connection->state == IN_HEAD) {
            used = read_head(connection, bytes, length);
        } else if (connection->state == IN_BODY) {
            used = length < connection->wanted ? length : connection->wanted;
            keep(connection, bytes, used);
            connection->wanted -= used;
        } else if (connection->state == IN_TRAILER) {
            if (*bytes == '\n' && !connection->line_length) {
                finish(connection, 1);
                return;
            }
            connection->line_length = *bytes == '\n' ? 0 : connection->line_length + (*bytes != '\r');
        } else {
            used = read_chunked(connection, bytes, length);
        }
        bytes += used;
        length -= used;
        if (connection->state == IN_BODY && !connection->wanted) {
            finish(connection, 1);
            return;
        }
    }
    if (!connection->busy || !*options.first) return;
    if (!connection->first && memmem(connection->body, connection->body_length, options.first, strlen(options.first)))
        connection->first = now_ns();
    if (!connection->first) return;
    if (options.abort_every && connection->number % options.abort_every == 0) hang_up(connection);
    else if (options.samples) note_gap(connection);
}

static void receive(Connection *connection) {
    static char buffer[1 << 17];
    ssize_t count = recv(connection->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0) take(connection, buffer, (size_t)count);
    else if (count < 0 && errno == EAGAIN) return;
    else if (connection->busy) finish(connection, 0);
    else reconnect(connection);
}

// Sends what is due in the open loop; returns when the next one is.
static int64_t send_due(int64_t start, int64_t end) {
    for (;;) {
        int64_t due = start + (int64_t)((double)tally.sent * 1e9 / options.rate);
        if (due >= end || (options.requests && tally.sent >= options.requests)) return NEVER;
        if (due > now_ns()) return due;
        int idle = 0;
        while (idle < options.connections && connections[idle].busy) idle++;
        if (idle == options.connections) return NEVER;  // an answer will wake us
        ask(&connections[idle], due);
    }
}

static double run(void) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event of_timer = {.events = EPOLLIN, .data.ptr = 0}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &of_timer);
    int64_t start = now_ns(), end = start + (int64_t)(options.seconds * 1e9);
    int64_t deadline = end + DRAIN_SECONDS * NANOSECONDS_PER_SECOND;
    for (;;) {
        int64_t now = now_ns(), wake = NEVER;
        int over = now >= end || (options.requests && tally.sent >= options.requests);
        if (options.rate > 0) wake = send_due(start, end);
        for (int i = 0; options.rate <= 0 && !over && i < options.connections; i++) {
            if (connections[i].busy || (options.requests && tally.sent >= options.requests)) continue;
            ask(&connections[i], now_ns());
        }
        if (tally.done + tally.aborted == tally.sent && (over || (options.rate > 0 && wake == NEVER))) break;
        if (now >= deadline) break;
        wake_at(timer, wake < deadline ? wake : deadline);
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            uint64_t expirations;
            if (events[i].data.ptr) receive(events[i].data.ptr);
            else if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) exit(2);
        }
    }
    for (int i = 0; i < options.connections; i++) {
        if (connections[i].busy) finish(&connections[i], 0);
    }
    return (double)(now_ns() - start) / 1e9;
}

static void print_list(const char *name, const double *values, long count) {
    printf(",\"%s\":[", name);
    for (long i = 0; i < count; i++) printf(i ? ",%.4f" : "%.4f", values[i]);
    printf("]");
}

static void add_header(const char *line) {
    size_t length = strlen(options.headers), room = sizeof options.headers - length;
    if ((size_t)snprintf(options.headers + length, room, "%s\r\n", line) >= room) {
        fprintf(stderr, "loadgen: too many headers\n");
        exit(2);
    }
}

static void read_request(const char *path) {
    static char body[1 << 20];
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t length = fread(body, 1, sizeof body, file);
    fclose(file);
    request = malloc(length + 4096);
    request_length = (size_t)snprintf(
        request, 4096,
        "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
        "accept: */*\r\nuser-agent: lumni-bench\r\n%scontent-length: %zu\r\n\r\n",
        options.path, options.port, options.key, options.headers, length);
    memcpy(request + request_length, body, length);
    request_length += length;
}

int main(int count, char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char *body = "/dev/null";
    for (int option; (option = getopt(count, arguments, "p:u:k:b:c:d:n:r:e:a:z:sh:x:")) != -1;) switch (option) {
            case 'p': options.port = atoi(optarg); break;
            case 'u': options.path = optarg; break;
            case 'k': options.key = optarg; break;
            case 'b': body = optarg; break;
            case 'c': options.connections = atoi(optarg); break;
            case 'd': options.seconds = atof(optarg); break;
            case 'n': options.requests = atol(optarg); break;
            case 'r': options.rate = atof(optarg); break;
            case 'e': options.events = atol(optarg); break;
            case 'a': options.first = optarg; break;
            case 'z': options.last = optarg; break;
            case 's': options.samples = 1; break;
            case 'h': add_header(optarg); break;
            case 'x': options.abort_every = atol(optarg); break;
            default: return 2;
        }
    read_request(body);
    poller = epoll_create1(0);
    connections = calloc((size_t)options.connections, sizeof *connections);
    for (int i = 0; i < options.connections; i++) {
        connections[i].head = malloc(MAX_HEAD + 1);
        connections[i].body = malloc(MAX_ANSWER);
        connect_to_server(&connections[i]);
    }
    double seconds = run();
    printf("{\"requests\":%ld,\"errors\":%ld,\"error\":\"%s\",\"reconnects\":%ld,\"aborted\":%ld,\"seconds\":%.6f",
           tally.done, tally.errors, tally.error, tally.reconnects, tally.aborted, seconds);
    if (options.samples) {
        print_list("latency_ms", tally.latency_ms, tally.done);
        print_list("first_ms", tally.first_ms, tally.done);
        print_list("gap_ms", tally.gap_ms, tally.gaps);
    }
    printf("}\n");
    return 0;
}
