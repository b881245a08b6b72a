/* Opens one connection as the clients of another server do. A file says how:
 *
 *   /path          of the WebSocket upgrade
 *   say TEXT       a text frame
 *   await TEXT     bytes that the server's next frames must hold
 */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES 16

char **script_read(const char *path) {
    FILE *file = fopen(path, "r");
    char **lines = calloc(LINES + 1, sizeof *lines);
    if (file == NULL) fail("%s: %m", path);
    for (unsigned i = 0; i < LINES; i++) {
        size_t size = 0;
        ssize_t length = getline(&lines[i], &size, file);
        if (length < 0) {
            lines[i] = NULL;
            break;
        }
        lines[i][strcspn(lines[i], "\n")] = '\0';
    }
    fclose(file);
    if (lines[0] == NULL) fail("%s has no path", path);
    return lines;
}

void script_begin(struct connection *c, const struct target *to, unsigned index) {
    char request[TEXT_SIZE];
    dial(c, to, index, 0); /* the stage is the line that is done with; the path is not yet */
    say(c, request,
        (size_t)snprintf(request, sizeof request,
                         "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                         to->script[0], to->address, to->port));
}

/* Says all lines from `stage` on that are to be said; stops at one that waits. */
static int go_on(struct connection *c, const struct target *to) {
    while (to->script[c->stage] != NULL && strncmp(to->script[c->stage], "say ", 4) == 0) {
        const char *text = to->script[c->stage++] + 4;
        say_frame(c, text, strlen(text));
    }
    if (to->script[c->stage] != NULL) return NOT_YET;
    c->received = 0;
    return OPENED;
}

int script_readable(struct connection *c, const struct target *to) {
    const char *rest = c->text;
    if (c->stage == 0) {
        if (strncmp(c->text, "HTTP/1.1 101", 12) != 0) fail("upgrade: %.200s", c->text);
        rest = strstr(c->text, "\r\n\r\n");
        if (rest == NULL) return NOT_YET; /* more is to come */
        rest += 4;
        c->stage = 1;
        if (go_on(c, to) == OPENED) return OPENED;
        if (c->used == 0) return NOT_YET; /* something has been said; what came before it is done */
    }
    const char *line = to->script[c->stage];
    if (strncmp(line, "await ", 6) != 0) fail("the script has a line '%s'", line);
    size_t left = c->used - (size_t)(rest - c->text);
    if (memmem(rest, left, line + 6, strlen(line + 6)) == NULL) return NOT_YET;
    c->used = 0;
    c->stage++;
    return go_on(c, to);
}
