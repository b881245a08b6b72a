/* The HTTP load client: sends ready-made requests over a few connections, one at a time
 * on each, and reads no more of the answers than their status and length.
 *
 *   requests ADDRESS PORT CONNECTIONS
 *
 * Takes lines "run FILE" from standard input. FILE holds requests, each after its length as four
 * bytes, lowest first. Answers "done COUNT FAILED NS": answers, how many of them had another status
 * than 2xx, and how long it took. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TEXT_SIZE 16384

struct link {
    int fd;
    size_t used;
    char text[TEXT_SIZE];
};

static unsigned char *requests, *next, *end;
static unsigned long answered, refused, waiting;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void send_next(struct link *l) {
    uint32_t length;
    if (next >= end) return;
    memcpy(&length, next, 4);
    if (send(l->fd, next + 4, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
    next += 4 + length;
    l->used = 0;
    waiting++;
}

/* Whether the whole answer is there: the end of its head, and as much as its length says. */
static int is_complete(struct link *l) {
    l->text[l->used] = '\0';
    char *body = strstr(l->text, "\r\n\r\n");
    if (body == NULL) return 0;
    char *length = strcasestr(l->text, "\r\ncontent-length:");
    size_t size = length != NULL && length < body ? strtoul(length + 17, NULL, 10) : 0;
    return l->used >= (size_t)(body + 4 - l->text) + size;
}

static void readable(struct link *l) {
    ssize_t got = read(l->fd, l->text + l->used, TEXT_SIZE - 1 - l->used);
    if (got <= 0) fail("the server closed a connection");
    l->used += (size_t)got;
    if (!is_complete(l)) return;
    if (strncmp(l->text, "HTTP/1.1 2", 10) != 0) {
        if (refused++ == 0) fprintf(stderr, "%.300s\n", l->text);
    }
    answered++;
    waiting--;
    send_next(l);
}

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail(path);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    free(requests);
    next = requests = malloc(size);
    end = requests + size;
    if (fread(requests, 1, size, file) != size) fail(path);
    fclose(file);
}

static void open_links(struct link *links, int count, const struct sockaddr_in *address, int loop) {
    int one = 1;
    for (int i = 0; i < count; i++) {
        struct link *l = &links[i];
        l->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(l->fd, (const struct sockaddr *)address, sizeof *address) < 0) fail("connect");
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
        epoll_ctl(loop, EPOLL_CTL_ADD, l->fd, &event);
        send_next(l);
    }
}

static void run(struct link *links, int count, const struct sockaddr_in *address) {
    struct epoll_event events[64];
    int loop = epoll_create1(0);
    answered = refused = 0;
    uint64_t start = now_ns();
    open_links(links, count, address, loop);
    while (waiting > 0) {
        int ready = epoll_wait(loop, events, 64, -1);
        for (int i = 0; i < ready; i++) readable(events[i].data.ptr);
    }
    printf("done %lu %lu %llu\n", answered, refused, (unsigned long long)(now_ns() - start));
    for (int i = 0; i < count; i++) close(links[i].fd);
    close(loop);
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char line[4096];
    int count = argc == 4 ? atoi(argv[3]) : 0;
    if (count < 1) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    struct link *links = calloc((size_t)count, sizeof *links);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "run ", 4) != 0) return 2;
        load(line + 4);
        run(links, count, &address);
    }
    return 0;
}
