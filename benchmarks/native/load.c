/* The load client: opens connections, then counts the bytes that each receives. It parses nothing
 * that it receives and copies none of it, so that it can share two cores with a server.
 *
 *   load ADDRESS PORT COUNT WINDOW FIRST plain
 *   load ADDRESS PORT COUNT WINDOW FIRST json|messagepack HUB TOKENS
 *   load ADDRESS PORT COUNT WINDOW FIRST script FILE
 *
 * WINDOW connections are opened at a time. FIRST is the number of the first, where several programs
 * share a server. TOKENS is a file with a token a line; FILE is as script.c has it. Answers "open COUNT
 * ID" when all are open, ID being that of the first. Then takes commands from standard input, a line
 * each, until it ends:
 *
 *   expect BYTES [FIRST COUNT]
 *                     "ready"; later "done FIRST LAST TOTAL", when each connection, or each of those,
 *                     has received BYTES: monotonic ns of the first and last connection that had, and
 *                     all bytes together
 *   record START      "recorded": takes START (monotonic ns) to each of these arrivals into the histogram
 *   quantiles         "quantiles COUNT P50 P99 P999 MAX" in ns; empties the histogram
 *   total             "total BYTES": what all have received since the last `expect`
 *   ping              "pinged": every connection sends a hub Ping
 *   reconnect         cuts every connection and opens it again; "open" as above when all are open
 *   invoke ...        see calls.c; "invoked COUNT NS" when all calls are answered, how long it took
 *
 * While it awaits more than MANY deliveries it looks at what has come each PAUSE_US and not at once. Over
 * loopback to wake a sleeping reader is the sender's work, a fourth of all, and how often it falls due
 * hangs on who is faster by a hair. Receivers on other machines are never woken on the sender's account.
 *
 * Each SignalR client sends a hub Ping every 15 seconds, as real ones do. Anything unexpected ends the
 * program with status 1 and one line on standard error. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 1024
#define PING_INTERVAL_NS 15000000000ULL
#define TICK_MS 100
#define MANY 100
#define PAUSE_US 500

struct connection *connections;
unsigned count;
static unsigned opened, begun, window;
static unsigned first_expected, count_expected, satisfied;
static struct target target;
static int loop;
static uint64_t expected; /* bytes for each connection; 0: none */
static uint64_t first_arrival, last_arrival, total;
static char command[4096];
static size_t command_used;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

void watch(struct connection *c) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, c->fd, &event) < 0) fail("epoll_ctl: %m");
}

static void begin_one(void) {
    unsigned index = begun++;
    opening_begin(&connections[index], &target, index);
    if (target.kind == PLAIN) opened++;
}

static void report_open_if_all_are(void) {
    if (opened == count) printf("open %u %s\n", count, first_id);
}

static void open_all(void) {
    opened = begun = 0;
    while (begun < count && begun < window) begin_one();
    if (target.kind == PLAIN) report_open_if_all_are();
}

static void count_arrival(struct connection *c) {
    c->arrived = now_ns();
    if (satisfied++ == 0) first_arrival = c->arrived;
    if (satisfied < count_expected) return;
    last_arrival = c->arrived;
    expected = 0;
    printf("done %llu %llu %llu\n", (unsigned long long)first_arrival,
           (unsigned long long)last_arrival, (unsigned long long)total);
}

static void drain(struct connection *c) {
    static char buffer[65536];
    /* MSG_TRUNC: the kernel throws the bytes away and says how many they were. */
    ssize_t got = recv(c->fd, buffer, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("connection %ld was closed by the server", (long)(c - connections));
    c->received += (uint64_t)got;
    total += (uint64_t)got;
    if (calls_open > 0) {
        calls_answered(c);
    } else if (expected && !c->arrived && c->received >= expected) {
        unsigned index = (unsigned)(c - connections);
        if (index >= first_expected && index - first_expected < count_expected) count_arrival(c);
    }
}

static void readable(struct connection *c) {
    if (c->text == NULL) {
        drain(c);
    } else if (opening_readable(c, &target, (unsigned)(c - connections)) == OPENED) {
        opened++;
        if (begun < count) begin_one();
        report_open_if_all_are();
    }
}

static void ping(struct connection *c) {
    static const char json[] = "\x81\x8b\0\0\0\0{\"type\":6}\x1e";
    static const char messagepack[] = "\x82\x83\0\0\0\0\x02\x91\x06";
    const char *frame = target.kind == JSON ? json : messagepack;
    ssize_t size = target.kind == JSON ? sizeof json - 1 : sizeof messagepack - 1;
    if (send(c->fd, frame, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) != size)
        fail("a ping was not taken: %m");
}

/* Sends the pings that are due, so many a tick that each open connection sends one an interval. */
static void ping_slice(void) {
    static uint64_t since;
    static unsigned next;
    uint64_t now = now_ns();
    if (target.hub == NULL) return;
    if (since == 0) since = now;
    uint64_t due = (now - since) * count / PING_INTERVAL_NS;
    if (due == 0) return;
    since = now;
    for (; due > 0; due--) {
        unsigned index = next++ % count;
        if (index < begun && connections[index].text == NULL) ping(&connections[index]);
    }
}

static void expect(uint64_t bytes, unsigned first, unsigned many) {
    first_expected = first;
    count_expected = many;
    for (unsigned i = 0; i < count; i++) connections[i].received = connections[i].arrived = 0;
    satisfied = 0;
    total = 0;
    expected = bytes;
    puts("ready");
}

static void record(uint64_t start) {
    for (unsigned i = first_expected; i < first_expected + count_expected; i++) {
        uint64_t arrived = connections[i].arrived;
        histogram_add(arrived > start ? arrived - start : 0);
    }
    puts("recorded");
}

static void quantiles(void) {
    printf("quantiles %llu", (unsigned long long)histogram_count());
    const double shares[] = {0.5, 0.99, 0.999, 1.0};
    for (unsigned i = 0; i < 4; i++)
        printf(" %llu", (unsigned long long)histogram_quantile(shares[i]));
    putchar('\n');
    histogram_clear();
}

static void reconnect(void) {
    for (unsigned i = 0; i < count; i++) close(connections[i].fd);
    open_all();
}

static void ping_all(void) {
    for (unsigned i = 0; i < count; i++) ping(&connections[i]);
    puts("pinged");
}

static void obey(const char *line) {
    unsigned long long number = 0;
    unsigned first = 0, many = count;
    if (sscanf(line, "expect %llu %u %u", &number, &first, &many) >= 1) expect(number, first, many);
    else if (sscanf(line, "record %llu", &number) == 1) record(number);
    else if (strcmp(line, "quantiles") == 0) quantiles();
    else if (strcmp(line, "total") == 0) printf("total %llu\n", (unsigned long long)total);
    else if (strcmp(line, "ping") == 0) ping_all();
    else if (strcmp(line, "reconnect") == 0) reconnect();
    else if (strncmp(line, "invoke ", 7) == 0) calls_begin(line, loop);
    else fail("there is no command '%s'", line);
}

static void read_commands(void) {
    ssize_t got = read(STDIN_FILENO, command + command_used, sizeof command - 1 - command_used);
    if (got <= 0) exit(0);
    command_used += (size_t)got;
    char *end;
    while ((end = memchr(command, '\n', command_used)) != NULL) {
        *end = '\0';
        obey(command);
        command_used -= (size_t)(end + 1 - command);
        memmove(command, end + 1, command_used);
    }
}

static void read_tokens(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) fail("%s: %m", path);
    target.tokens = calloc(count, sizeof *target.tokens);
    for (unsigned i = 0; i < count; i++) {
        char *line = NULL;
        size_t size = 0;
        ssize_t length = getline(&line, &size, file);
        if (length < 2) fail("%s has no %u tokens", path, count);
        line[length - 1] = '\0';
        target.tokens[i] = line;
    }
    fclose(file);
}

static void read_target(int argc, char **argv) {
    const char *usage = "usage: load ADDRESS PORT COUNT WINDOW FIRST KIND [HUB TOKENS|FILE]";
    if (argc < 7) fail("%s", usage);
    target.address = argv[1];
    target.port = atoi(argv[2]);
    count = (unsigned)atoi(argv[3]);
    window = (unsigned)atoi(argv[4]);
    target.first = (unsigned)atoi(argv[5]);
    if (strcmp(argv[6], "plain") == 0 && argc == 7) {
        target.kind = PLAIN;
        window = count;
    } else if (strcmp(argv[6], "script") == 0 && argc == 8) {
        target.kind = SCRIPT;
        target.script = script_read(argv[7]);
    } else if (argc == 9) {
        target.kind = strcmp(argv[6], "messagepack") == 0 ? MESSAGEPACK : JSON;
        target.hub = argv[7];
        read_tokens(argv[8]);
    } else fail("%s", usage);
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS], commands = {.events = EPOLLIN};
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_target(argc, argv);
    connections = calloc(count, sizeof *connections);
    loop = epoll_create1(0);
    epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &commands);
    open_all();
    for (;;) {
        if (expected && count_expected - satisfied > MANY) usleep(PAUSE_US); /* see above */
        int ready = epoll_wait(loop, events, EVENTS, TICK_MS);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL) read_commands();
            else if (events[i].data.ptr == &calls_timer) calls_due();
            else readable(events[i].data.ptr);
        }
        ping_slice();
    }
}
