/* What the parts of the load client share. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

/* PLAIN: TCP, nothing is said after connecting. JSON, MESSAGEPACK: a SignalR client of that encoding.
 * SCRIPT: a WebSocket client that says and awaits what a file has. */
enum kind { PLAIN, JSON, MESSAGEPACK, SCRIPT };

struct target {
    enum kind kind;
    const char *address;
    int port;
    unsigned first;      /* of the numbers of these connections, where several programs share a server */
    const char *hub;
    const char **tokens; /* one a connection */
    char **script;       /* its lines, NULL after the last */
};

struct connection {
    int fd;
    int stage;           /* see opening.c and script.c */
    unsigned used;       /* bytes in `text` */
    char *text;          /* what the server has said while the connection opens; NULL once open */
    uint64_t received;   /* bytes since the last `expect` */
    uint64_t arrived;    /* monotonic ns at which the expected bytes were there; 0: not yet */
    uint64_t *begun;     /* monotonic ns at which the calls began that have no answer yet: a ring */
    unsigned asked, answered;
};

enum { NOT_YET, OPENED };
#define TEXT_SIZE 8192

/* load.c. Everything that goes wrong ends the program: a benchmark with losses is no benchmark. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_ns(void);
void watch(struct connection *c); /* adds a new socket to the event loop */
extern struct connection *connections;
extern unsigned count;

/* opening.c: negotiate, upgrade, hub handshake. */
void opening_begin(struct connection *c, const struct target *to, unsigned index);
int opening_readable(struct connection *c, const struct target *to, unsigned index);
void dial(struct connection *c, const struct target *to, unsigned index, int stage);
void say(struct connection *c, const char *bytes, size_t length);
void say_frame(struct connection *c, const char *bytes, size_t length);
extern char first_id[128]; /* the connection id that the first connection was given */

/* script.c: the opening of a client of another server. */
char **script_read(const char *path);
void script_begin(struct connection *c, const struct target *to, unsigned index);
int script_readable(struct connection *c, const struct target *to);

/* calls.c: invocations, and the time to their answers. */
void calls_begin(const char *line, int loop);
void calls_due(void);
void calls_answered(struct connection *c);
extern int calls_timer;     /* readable when a call is due */
extern uint64_t calls_open; /* calls that are still to be answered; 0: there are no calls now */

/* histogram.c: latencies in ns, kept to about 1.5 %. */
void histogram_add(uint64_t ns);
uint64_t histogram_quantile(double share);
uint64_t histogram_count(void);
void histogram_clear(void);

#endif
