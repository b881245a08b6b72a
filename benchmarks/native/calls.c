/* Invocations: each connection says the same call, and each answer has the same number of bytes,
 * so that answers are counted and never read. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#define RING 256 /* calls of one connection without an answer */

int calls_timer = -1;
uint64_t calls_open;

static uint64_t calls, begun, answer_size, interval, started;
static char text[2048];

static void call(struct connection *c, uint64_t due) {
    if (c->asked - c->answered == RING) fail("%d calls of one client have no answer", RING);
    c->begun[c->asked++ % RING] = due;
    begun++;
    unsigned used = c->used;
    say_frame(c, text, strlen(text));
    c->used = used;
}

static void set_timer(void) {
    uint64_t due = started + begun * interval;
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(due / 1000000000ULL),
                                         .tv_nsec = (long)(due % 1000000000ULL)}};
    timerfd_settime(calls_timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* "invoke CALLS RATE ANSWER TEXT": so many calls, RATE a second in all and each when it is due whether
 * or not others have been answered; with RATE 0, each connection calls again once it is answered. */
void calls_begin(const char *line, int loop) {
    double rate;
    unsigned long long wanted, size;
    int at = 0;
    if (sscanf(line, "invoke %llu %lf %llu %n", &wanted, &rate, &size, &at) != 3 || at == 0)
        fail("'%s' is no invocation", line);
    calls = calls_open = wanted;
    answer_size = size;
    snprintf(text, sizeof text, "%s\x1e", line + at);
    begun = 0;
    for (unsigned i = 0; i < count; i++) {
        struct connection *c = &connections[i];
        if (c->begun == NULL) c->begun = calloc(RING, sizeof *c->begun);
        c->asked = c->answered = 0;
        c->received = 0;
    }
    if (calls_timer < 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &calls_timer};
        calls_timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        epoll_ctl(loop, EPOLL_CTL_ADD, calls_timer, &event);
    }
    started = now_ns();
    interval = rate > 0 ? (uint64_t)(1e9 / rate) : 0;
    if (interval > 0) calls_due();
    else
        for (unsigned i = 0; i < count && begun < calls; i++) call(&connections[i], now_ns());
}

void calls_due(void) {
    uint64_t now = now_ns();
    while (begun < calls && started + begun * interval <= now)
        call(&connections[begun % count], started + begun * interval);
    struct itimerspec never = {0};
    if (begun < calls) set_timer();
    else timerfd_settime(calls_timer, 0, &never, NULL);
}

void calls_answered(struct connection *c) {
    uint64_t now = now_ns();
    while (c->answered < c->asked && c->received >= (c->answered + 1) * answer_size) {
        histogram_add(now - c->begun[c->answered++ % RING]);
        if (--calls_open == 0) printf("invoked %llu %llu\n", (unsigned long long)calls,
                                      (unsigned long long)(now - started));
        if (interval == 0 && begun < calls) call(c, now_ns());
    }
}
