/* A legacy mail server as a backend: IMAP, POP3 and SMTP in clear, and the HTTP server that nginx asks where to go.
 *
 * backend HOST IMAP_PORT POP3_PORT SMTP_PORT HTTP_PORT [FILE]
 *
 * One thread, epoll. It lets everybody in but those whose password is "wrong". FETCH n and RETR n give a message of n MiB;
 * APPEND and DATA keep nothing. With FILE, a line with the last recipient of each message is in there before the message
 * is taken, and answers to NOOP end with IMAP_PORT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IMAP, POP3, SMTP, HTTP, PROTOCOLS };
#define BODY (1 << 20)
#define CAPABILITIES "IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN"

enum expecting { COMMAND, CREDENTIALS, DONE, MESSAGE };
struct connection {
    int fd, protocol, listens, closing, writable_wanted;
    enum expecting expecting;
    char tag[64];
    char line[1024];
    int line_length, literal_end; /* of an IMAP command, with its literals; where its last literal ends */
    long literal, ignored;        /* octets still to come: of a literal that is kept, of one that isn't */
    char recipient[128];
    char out[1024], after[96];    /* goes out before `bulk` octets of body, and after */
    int out_length, after_length;
    long bulk;
};
static char body[BODY], input[256 * 1024];
static const char *host;
static int ports[PROTOCOLS], epoll, file = -1;
static char noop[32] = "done";

static void add(struct connection *c, const char *text)
{
    int length = strlen(text);
    if (c->out_length + length <= (int)sizeof c->out) {
        memcpy(c->out + c->out_length, text, length);
        c->out_length += length;
    }
}
static void add_tagged(struct connection *c, const char *text)
{
    char line[256];
    snprintf(line, sizeof line, "%s %s\r\n", c->tag, text);
    add(c, line);
}
static void want_writable(struct connection *c, int wanted)
{
    struct epoll_event event = { .events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c };
    if (wanted == c->writable_wanted)
        return;
    c->writable_wanted = wanted;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}
/* Whether the connection goes on. */
static int flush(struct connection *c)
{
    ssize_t n = 0;
    while (c->out_length || c->bulk || c->after_length) {
        if (c->out_length) {
            n = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL | (c->bulk ? MSG_MORE : 0));
            if (n > 0) {
                memmove(c->out, c->out + n, c->out_length - n);
                c->out_length -= n;
            }
        } else if (c->bulk) {
            long at = (BODY - c->bulk % BODY) % BODY, chunk = BODY - at;
            if (chunk > c->bulk)
                chunk = c->bulk;
            n = send(c->fd, body + at, chunk > 262144 ? 262144 : chunk, MSG_NOSIGNAL);
            if (n > 0)
                c->bulk -= n;
        } else {
            memcpy(c->out, c->after, c->after_length);
            c->out_length = c->after_length;
            c->after_length = 0;
            continue;
        }
        if (n < 0)
            break;
    }
    if (n < 0 && errno != EAGAIN)
        return 0;
    want_writable(c, n < 0);
    return n < 0 || !c->closing;
}

/* ---- protocols: c->line is a command, without its end */
static int begins(const char *text, const char *with)
{
    return !strncasecmp(text, with, strlen(with));
}
/* As the gateway encodes it: an atom, or the end of a base64 that begins with NUL and user@example.com. */
static int is_wrong(const char *credentials)
{
    return strstr(credentials, "wrong") || strstr(credentials, "d3Jvbmc=");
}
static int keep_recipient(const struct connection *c)
{
    char line[sizeof c->recipient + 1];
    int length = snprintf(line, sizeof line, "%s\n", c->recipient);
    return file < 0 || write(file, line, length) == length;
}
static void imap(struct connection *c)
{
    char *verb = strchr(c->line, ' ');
    if (c->expecting != COMMAND) {
        add_tagged(c, c->expecting == CREDENTIALS ? is_wrong(c->line) ? "NO [AUTHENTICATIONFAILED] wrong" : "OK [CAPABILITY " CAPABILITIES "] logged in" : "OK done");
        c->expecting = COMMAND;
        return;
    }
    snprintf(c->tag, sizeof c->tag, "%.*s", (int)(verb ? verb - c->line : 0), c->line);
    verb = verb ? verb + 1 : c->line;
    if (begins(verb, "LOGIN ") || begins(verb, "AUTHENTICATE PLAIN "))
        add_tagged(c, is_wrong(verb) ? "NO [AUTHENTICATIONFAILED] wrong" : "OK [CAPABILITY " CAPABILITIES "] logged in");
    else if (begins(verb, "AUTHENTICATE ")) {
        c->expecting = CREDENTIALS;
        add(c, "+ \r\n");
    } else if (begins(verb, "IDLE")) {
        c->expecting = DONE;
        add(c, "+ idling\r\n");
    } else if (begins(verb, "FETCH ")) {
        c->bulk = atol(verb + 6) << 20;
        c->out_length += snprintf(c->out + c->out_length, 64, "* 1 FETCH (BODY[] {%ld}\r\n", c->bulk);
        c->after_length = snprintf(c->after, sizeof c->after, ")\r\n%s OK done\r\n", c->tag);
    } else {
        if (begins(verb, "CAPABILITY"))
            add(c, "* CAPABILITY " CAPABILITIES "\r\n");
        else if (begins(verb, "ID "))
            add(c, "* ID NIL\r\n");
        else if (begins(verb, "LOGOUT")) {
            add(c, "* BYE\r\n");
            c->closing = 1;
        } else if (begins(verb, "NOOP")) {
            char answer[sizeof noop + 3];
            snprintf(answer, sizeof answer, "OK %s", noop);
            add_tagged(c, answer);
            return;
        }
        add_tagged(c, "OK done");
    }
}
static void pop3(struct connection *c)
{
    if (begins(c->line, "CAPA"))
        add(c, "+OK\r\nUSER\r\nSASL PLAIN\r\nUIDL\r\nTOP\r\n.\r\n");
    else if (begins(c->line, "RETR ")) {
        add(c, "+OK\r\n");
        c->bulk = atol(c->line + 5) << 20;
        c->after_length = snprintf(c->after, sizeof c->after, ".\r\n");
    } else if (!strcasecmp(c->line, "AUTH PLAIN"))
        add(c, "+ \r\n");
    else if (is_wrong(c->line))
        add(c, "-ERR [AUTH] wrong\r\n");
    else if (begins(c->line, "NOOP")) {
        add(c, "+OK ");
        add(c, noop);
        add(c, "\r\n");
    } else {
        c->closing = begins(c->line, "QUIT");
        add(c, "+OK\r\n");
    }
}
static void smtp(struct connection *c)
{
    if (c->expecting == MESSAGE) {
        if (!strcmp(c->line, ".")) {
            c->expecting = COMMAND;
            add(c, keep_recipient(c) ? "250 2.0.0 queued\r\n" : "452 4.3.1 full\r\n");
        }
    } else if (c->expecting == CREDENTIALS || begins(c->line, "AUTH PLAIN ")) {
        c->expecting = COMMAND;
        add(c, is_wrong(c->line) ? "535 5.7.8 wrong\r\n" : "235 2.7.0 ok\r\n");
    } else if (begins(c->line, "EHLO"))
        add(c, "250-backend\r\n250-PIPELINING\r\n250-SIZE 1000000000\r\n250-AUTH PLAIN\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
    else if (begins(c->line, "AUTH PLAIN")) {
        c->expecting = CREDENTIALS;
        add(c, "334 \r\n");
    } else if (begins(c->line, "DATA")) {
        c->expecting = MESSAGE;
        add(c, "354 go\r\n");
    } else if (begins(c->line, "QUIT")) {
        c->closing = 1;
        add(c, "221 2.0.0 bye\r\n");
    } else {
        if (begins(c->line, "RCPT TO:<"))
            snprintf(c->recipient, sizeof c->recipient, "%.*s", (int)strcspn(c->line + 9, ">"), c->line + 9);
        add(c, "250 2.0.0 ok\r\n");
    }
}
/* https://nginx.org/en/docs/mail/ngx_mail_auth_http_module.html: HTTP/1.0, a connection for each question. */
static void http(struct connection *c)
{
    char reply[256];
    if (begins(c->line, "Auth-Protocol:"))
        snprintf(c->tag, sizeof c->tag, "%.60s", c->line + 14);
    if (c->line_length)
        return;
    snprintf(reply, sizeof reply, "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: %s\r\nAuth-Port: %d\r\n\r\n", host,
             ports[strstr(c->tag, "pop3") ? POP3 : strstr(c->tag, "smtp") ? SMTP : IMAP]);
    add(c, reply);
    c->closing = 1;
}
static void (*const commands[])(struct connection *) = { imap, pop3, smtp, http };
static const char *const greetings[] = { "* OK [CAPABILITY " CAPABILITIES "] ready\r\n", "+OK ready\r\n", "220 backend ESMTP\r\n", "" };

/* ---- lines and literals */
static void keep(struct connection *c, const char *data, long length)
{
    long room = (long)sizeof c->line - 1 - c->line_length;
    if (length > room)
        length = room;
    memcpy(c->line + c->line_length, data, length);
    c->line_length += length;
}
/* Whether the line goes on behind a literal (RFC 9051 4.3). */
static int literal_begins(struct connection *c)
{
    char *brace = strrchr(c->line, '{');
    if (c->protocol != IMAP || c->line_length <= c->literal_end || c->line[c->line_length - 1] != '}' || !brace)
        return 0;
    c->literal_end = c->line_length;
    if (strcasestr(c->line, " APPEND "))
        c->ignored = atol(brace + 1);
    else {
        c->literal = atol(brace + 1);
        c->literal_end += c->literal;
    }
    if (c->line[c->line_length - 2] != '+')
        add(c, "+ OK\r\n");
    return 1;
}
static void take(struct connection *c, char *data, long length)
{
    while (length > 0) {
        long *counted = c->ignored ? &c->ignored : &c->literal, part;
        char *newline = *counted ? 0 : memchr(data, '\n', length);
        part = *counted ? (length < *counted ? length : *counted) : newline ? newline - data + 1 : length;
        if (!c->ignored)
            keep(c, data, part);
        if (*counted)
            *counted -= part;
        data += part;
        length -= part;
        if (!newline)
            continue;
        while (c->line_length && strchr("\r\n", c->line[c->line_length - 1]))
            c->line_length--;
        c->line[c->line_length] = 0;
        if (literal_begins(c))
            continue;
        commands[c->protocol](c);
        c->line_length = c->literal_end = 0;
    }
}

/* ---- sockets */
static void watch(struct connection *c)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}
static void forget(struct connection *c)
{
    close(c->fd);
    free(c);
}
static void serve(struct connection *c)
{
    ssize_t n = recv(c->fd, input, sizeof input, 0);
    if (n > 0)
        take(c, input, n);
    if (n == 0 || (n < 0 && errno != EAGAIN) || !flush(c))
        forget(c);
}
static void accept_some(const struct connection *listening)
{
    const int one = 1;
    for (int i = 0; i < 64; i++) {
        struct connection *c;
        int fd = accept4(listening->fd, 0, 0, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c = calloc(1, sizeof *c);
        c->fd = fd;
        c->protocol = listening->protocol;
        watch(c);
        add(c, greetings[c->protocol]);
        if (!flush(c))
            forget(c);
    }
}
static int listen_on(int protocol)
{
    const int one = 1;
    struct connection *c = calloc(1, sizeof *c);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(ports[protocol]) };
    c->listens = 1;
    c->protocol = protocol;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || bind(c->fd, (void *)&address, sizeof address) || listen(c->fd, 4096))
        return 0;
    watch(c);
    return 1;
}
int main(int count, char **arguments)
{
    if (count != 6 && count != 7) {
        fputs("backend HOST IMAP_PORT POP3_PORT SMTP_PORT HTTP_PORT [FILE]\n", stderr);
        return 2;
    }
    if (count == 7) {
        snprintf(noop, sizeof noop, "at %d", atoi(arguments[2]));
        file = open(arguments[6], O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (file < 0) {
            perror(arguments[6]);
            return 1;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    host = arguments[1];
    memset(body, 'x', BODY);
    for (int i = 64; i <= BODY; i += 64)
        memcpy(body + i - 2, "\r\n", 2);
    epoll = epoll_create1(0);
    for (int i = 0; i < PROTOCOLS; i++) {
        ports[i] = atoi(arguments[2 + i]);
        if (!listen_on(i)) {
            perror("listen");
            return 1;
        }
    }
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->listens)
                accept_some(c);
            else
                serve(c);
        }
    }
}
