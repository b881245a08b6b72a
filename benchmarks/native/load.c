/* The load client: opens connections, then counts the bytes that each receives. It parses nothing
 * that it receives and copies none of it, so that it can share two cores with a server.
 *
 *   load ADDRESS PORT COUNT WINDOW [HUB TOKENS]
 *
 * WINDOW connections are opened at a time. With HUB and TOKENS, a file with a token a line, they are
 * SignalR clients over WebSocket, else plain TCP. Answers "open COUNT ID" when all are open, ID being
 * that of the first. Then takes commands from standard input, a line each, until it ends:
 *
 *   expect BYTES      "ready"; later "done FIRST LAST TOTAL", when each connection has received BYTES:
 *                     monotonic ns of the first and last connection that had, and all bytes together
 *   record START      "recorded": takes START (monotonic ns) to each connection's arrival into the histogram
 *   quantiles         "quantiles COUNT P50 P99 P999 MAX" in ns; empties the histogram
 *   ping              "pinged": every connection sends a hub Ping
 *
 * Each connection sends a hub Ping every 15 seconds, as real clients do. Anything unexpected ends the
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

static struct connection *connections;
static unsigned count, opened, begun, satisfied;
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
    if (target.hub == NULL) opened++;
}

static void report_open_if_all_are(void) {
    if (opened == count) printf("open %u %s\n", count, first_id);
}

static void count_arrival(struct connection *c) {
    c->arrived = now_ns();
    if (satisfied++ == 0) first_arrival = c->arrived;
    if (satisfied < count) return;
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
    if (expected && !c->arrived && c->received >= expected) count_arrival(c);
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
    static const char frame[] = "\x81\x8b\0\0\0\0{\"type\":6}\x1e";
    if (send(c->fd, frame, sizeof frame - 1, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof frame - 1)
        fail("a ping was not taken: %m");
}

/* Sends the pings that are due, so many a tick that each connection sends one an interval. */
static void ping_slice(void) {
    static uint64_t since;
    static unsigned next;
    uint64_t now = now_ns();
    if (target.hub == NULL || opened < count) return;
    if (since == 0) since = now;
    uint64_t due = (now - since) * count / PING_INTERVAL_NS;
    if (due == 0) return;
    since = now;
    for (; due > 0; due--) ping(&connections[next++ % count]);
}

static void expect(uint64_t bytes) {
    for (unsigned i = 0; i < count; i++) connections[i].received = connections[i].arrived = 0;
    satisfied = 0;
    total = 0;
    expected = bytes;
    puts("ready");
}

static void record(uint64_t start) {
    for (unsigned i = 0; i < count; i++) {
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

static void obey(const char *line) {
    unsigned long long number = 0;
    if (sscanf(line, "expect %llu", &number) == 1) expect(number);
    else if (sscanf(line, "record %llu", &number) == 1) record(number);
    else if (strcmp(line, "quantiles") == 0) quantiles();
    else if (strcmp(line, "ping") == 0) {
        for (unsigned i = 0; i < count; i++) ping(&connections[i]);
        puts("pinged");
    } else fail("there is no command '%s'", line);
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

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS], commands = {.events = EPOLLIN};
    if (argc != 5 && argc != 7) fail("usage: load ADDRESS PORT COUNT WINDOW [HUB TOKENS]");
    setvbuf(stdout, NULL, _IOLBF, 0);
    target.address = argv[1];
    target.port = atoi(argv[2]);
    count = (unsigned)atoi(argv[3]);
    connections = calloc(count, sizeof *connections);
    loop = epoll_create1(0);
    if (argc == 7) {
        target.hub = argv[5];
        read_tokens(argv[6]);
    }
    epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &commands);
    unsigned window = target.hub == NULL ? count : (unsigned)atoi(argv[4]);
    while (begun < count && begun < window) begin_one();
    if (target.hub == NULL) report_open_if_all_are();
    for (;;) {
        int ready = epoll_wait(loop, events, EVENTS, TICK_MS);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL) read_commands();
            else readable(events[i].data.ptr);
        }
        ping_slice();
    }
}
