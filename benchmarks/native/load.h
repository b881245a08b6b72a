/* What the parts of the load client share. */
#ifndef LOAD_H
#define LOAD_H

#include <stdint.h>

struct target {
    const char *address;
    int port;
    const char *hub;    /* NULL: plain TCP, nothing is said after connecting */
    const char **tokens; /* one a connection */
};

struct connection {
    int fd;
    int stage;         /* see opening.c */
    unsigned used;     /* bytes in `text` */
    char *text;        /* what the server has said while the connection opens; NULL once open */
    uint64_t received; /* bytes since the last `expect` */
    uint64_t arrived;  /* monotonic ns at which the expected bytes were there; 0: not yet */
};

enum { NOT_YET, OPENED };

/* Everything that goes wrong ends the program: a benchmark with losses is no benchmark. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_ns(void);

/* opening.c: negotiate, upgrade, hub handshake. `watch` adds a new socket to the event loop. */
void opening_begin(struct connection *c, const struct target *to, unsigned index);
int opening_readable(struct connection *c, const struct target *to, unsigned index);
void watch(struct connection *c);
extern char first_id[128]; /* the connection id that the first connection was given */

/* histogram.c: latencies in ns, kept to about 1.5 %. */
void histogram_add(uint64_t ns);
uint64_t histogram_quantile(double share);
uint64_t histogram_count(void);
void histogram_clear(void);

#endif
