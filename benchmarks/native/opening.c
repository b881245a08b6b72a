/* Opens one connection as a SignalR client does: negotiate on a connection of its own, WebSocket
 * upgrade with the token in the query, hub handshake. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NEGOTIATING, UPGRADING, SHAKING_HANDS };

#define PER_SOURCE 10000 /* connections from one loopback address, so that its ports suffice */

char first_id[128];

void dial(struct connection *c, const struct target *to, unsigned index, int stage) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0) fail("socket: %m");
    struct sockaddr_in address = {.sin_family = AF_INET};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (to->first + index) / PER_SOURCE);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind: %m");
    address.sin_port = htons((uint16_t)to->port);
    if (inet_pton(AF_INET, to->address, &address.sin_addr) != 1) fail("%s is no IPv4", to->address);
    /* Over loopback this waits for nothing but room in the server's backlog. */
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect: %m");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    c->fd = fd;
    c->stage = stage;
    watch(c);
}

void say(struct connection *c, const char *bytes, size_t length) {
    if (write(c->fd, bytes, length) != (ssize_t)length) fail("a request was not taken: %m");
    c->used = 0;
}

/* A text frame, masked with zeros (RFC 6455, 5.2). */
void say_frame(struct connection *c, const char *bytes, size_t length) {
    char frame[TEXT_SIZE] = "\x81";
    size_t head = 6;
    if (length > sizeof frame - 8) fail("a frame of %zu bytes is too long", length);
    if (length < 126) {
        frame[1] = (char)(0x80 | length);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(length >> 8);
        frame[3] = (char)(length & 0xff);
        head = 8;
    }
    memset(frame + head - 4, 0, 4);
    memcpy(frame + head, bytes, length);
    say(c, frame, head + length);
}

void opening_begin(struct connection *c, const struct target *to, unsigned index) {
    if (to->kind == PLAIN) {
        dial(c, to, index, SHAKING_HANDS);
        return;
    }
    char request[TEXT_SIZE];
    c->text = malloc(TEXT_SIZE);
    if (to->kind == SCRIPT) {
        script_begin(c, to, index);
        return;
    }
    dial(c, to, index, NEGOTIATING);
    say(c, request,
        (size_t)snprintf(request, sizeof request,
                         "POST /client/negotiate?hub=%s&negotiateVersion=1 HTTP/1.1\r\n"
                         "Host: %s:%d\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n",
                         to->hub, to->address, to->port, to->tokens[index]));
}

/* Copies the JSON string that follows `name` in the answer; false if it has not come yet. */
static int member(const struct connection *c, const char *name, char *value, size_t size) {
    const char *start = strstr(c->text, name);
    const char *end = start ? strchr(start += strlen(name), '"') : NULL;
    if (end == NULL) return 0;
    if ((size_t)(end - start) >= size) fail("%s is too long", name);
    memcpy(value, start, (size_t)(end - start));
    value[end - start] = '\0';
    return 1;
}

static void negotiated(struct connection *c, const struct target *to, unsigned index) {
    char id[128], token[1024], request[TEXT_SIZE];
    if (strncmp(c->text, "HTTP/1.1 200", 12) != 0) fail("negotiate: %.200s", c->text);
    const char *body = strstr(c->text, "\r\n\r\n");
    if (body == NULL || c->text[c->used - 1] != '}') return; /* more is to come */
    if (!member(c, "\"connectionId\":\"", id, sizeof id) ||
        !member(c, "\"connectionToken\":\"", token, sizeof token))
        fail("negotiate: %.200s", body);
    if (index == 0) strcpy(first_id, id);
    close(c->fd);
    dial(c, to, index, UPGRADING);
    say(c, request,
        (size_t)snprintf(request, sizeof request,
                         "GET /client/?hub=%s&id=%s&access_token=%s HTTP/1.1\r\nHost: %s:%d\r\n"
                         "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                         to->hub, token, to->tokens[index], to->address, to->port));
}

static void upgraded(struct connection *c, const struct target *to) {
    static const char json[] = "{\"protocol\":\"json\",\"version\":1}\x1e";
    static const char messagepack[] = "{\"protocol\":\"messagepack\",\"version\":1}\x1e";
    if (strncmp(c->text, "HTTP/1.1 101", 12) != 0) fail("upgrade: %.200s", c->text);
    if (strstr(c->text, "\r\n\r\n") == NULL) return; /* more is to come */
    c->stage = SHAKING_HANDS;
    if (to->kind == JSON) say_frame(c, json, sizeof json - 1);
    else say_frame(c, messagepack, sizeof messagepack - 1);
}

static int shaken(struct connection *c) {
    static const char answer[] = "\x03{}\x1e"; /* after the first byte: text or binary */
    if (c->used < sizeof answer) return NOT_YET;
    if (memcmp(c->text + 1, answer, sizeof answer - 1) != 0) fail("handshake: %.200s", c->text + 2);
    c->received = c->used - sizeof answer;
    return OPENED;
}

int opening_readable(struct connection *c, const struct target *to, unsigned index) {
    ssize_t got = read(c->fd, c->text + c->used, TEXT_SIZE - 1 - c->used);
    if (got < 0 && errno == EAGAIN) return NOT_YET; /* told of a socket that has been replaced */
    if (got <= 0) fail("connection %u ended while it opened (stage %d): %m", index, c->stage);
    c->used += (unsigned)got;
    c->text[c->used] = '\0';
    int done = NOT_YET;
    if (to->kind == SCRIPT) done = script_readable(c, to);
    else if (c->stage == NEGOTIATING) negotiated(c, to, index);
    else if (c->stage == UPGRADING) upgraded(c, to);
    else done = shaken(c);
    if (done == OPENED) {
        free(c->text);
        c->text = NULL;
    }
    return done;
}
