/* The reference: the cheapest server there can be. It sends ready-made bytes to every connection
 * with one send() each and does nothing else.
 *
 *   sender COUNT
 *
 * Answers "port N", then "ready" when COUNT connections are there. Each line "send SIZE" or "send SIZE
 * FIRST COUNT" on standard input sends SIZE bytes to each, or to some, and is answered by "sent". */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    int count = atoi(argv[1]), one = 1;
    int *fds = calloc((size_t)count, sizeof *fds);
    static char bytes[65536], line[64];
    size_t size;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(bytes, 'x', sizeof bytes);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
    if (listen(listener, 4096) < 0) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) fail("getsockname");
    printf("port %d\n", ntohs(address.sin_port));
    for (int i = 0; i < count; i++) {
        if ((fds[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0) fail("accept");
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    puts("ready");
    while (fgets(line, sizeof line, stdin) != NULL) {
        int from = 0, many = count;
        if (sscanf(line, "send %zu %d %d", &size, &from, &many) < 1) return 2;
        if (size > sizeof bytes || from < 0 || from + many > count) return 2;
        for (int i = from; i < from + many; i++)
            if (send(fds[i], bytes, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
        puts("sent");
    }
    return 0;
}
