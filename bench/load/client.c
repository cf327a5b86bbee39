/* Mail clients as a load: one thread, epoll, TLS 1.3.
 *
 * client MODE PROTOCOL HOST PORT [-n AT_ONCE] [-c TIMES] [-k SESSIONS] [-s MIB] [-t SECONDS] [-r] [-p] [-f]
 *
 *   login     TIMES connections, AT_ONCE at a time: handshake, login, logout. -r: each resumes the one before it; -f: of
 *             ten, six do a NOOP first, one has a wrong password, three are cut (handshake, login, once logged in)
 *   refused   TIMES connections from 127.0.2.0/24 (all others: 127.0.1.0/24), AT_ONCE at a time, that wait for their end
 *   hold      SESSIONS that are logged in and do nothing
 *   noop, down, up, mail
 *             SESSIONS that are logged in, each TIMES: a NOOP, a FETCH or an APPEND of MIB, a message of 4 KiB
 *   each-second
 *             SESSIONS that each do a NOOP every second, for SECONDS
 *
 * -p: no TLS. Says READY when the sessions are logged in (login: when AT_ONCE have been in twice, to warm up), waits for
 * a line, does it, and prints one line of JSON. "us": microseconds; those of a login begin at the connect. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BODY 65536
#define PATIENCE 240.0 /* seconds for anything at all */
#define MESSAGE 4096

/* Send `body` octets, then `send`; go on after a line that begins with `expect`. A script ends with { 0 }. */
struct step {
    const char *send, *expect;
    long body;
};
enum protocol { IMAP, POP3, SMTP };
enum mode { LOGIN, REFUSED, HOLD, NOOP, DOWN, UP, MAIL, EACH_SECOND, MODES };
static const char *const protocols[] = { "imap", "pop3", "smtp" };
static const char *const modes[] = { "login", "refused", "hold", "noop", "down", "up", "mail", "each-second" };

static const struct step logins[3][4] = {
    { { "", "* OK", 0 }, { "a1 LOGIN user@example.com secret99\r\n", "a1 OK", 0 } },
    { { "", "+OK", 0 }, { "USER user@example.com\r\n", "+OK", 0 }, { "PASS secret99\r\n", "+OK", 0 } },
    { { "", "220 ", 0 },
      { "EHLO load.example\r\n", "250 ", 0 },
      { "AUTH PLAIN AHVzZXJAZXhhbXBsZS5jb20Ac2VjcmV0OTk=\r\n", "235 ", 0 } },
};
static const struct step wrong_logins[3][4] = {
    { { "", "* OK", 0 }, { "a1 LOGIN user@example.com wrong\r\n", "a1 NO", 0 } },
    { { "", "+OK", 0 }, { "USER user@example.com\r\n", "+OK", 0 }, { "PASS wrong\r\n", "-ERR", 0 } },
    { { "", "220 ", 0 },
      { "EHLO load.example\r\n", "250 ", 0 },
      { "AUTH PLAIN AHVzZXJAZXhhbXBsZS5jb20Ad3Jvbmc=\r\n", "535 ", 0 } },
};
static const struct step logouts[3][2] = { { { "a9 LOGOUT\r\n", "a9 OK", 0 } }, { { "QUIT\r\n", "+OK", 0 } }, { { "QUIT\r\n", "221 ", 0 } } };
static const struct step noops[3][2] = { { { "a5 NOOP\r\n", "a5 OK", 0 } }, { { "NOOP\r\n", "+OK", 0 } }, { { "NOOP\r\n", "250 ", 0 } } };
static const struct step goodbyes[3][3] = {
    { { "a5 NOOP\r\n", "a5 OK", 0 }, { "a9 LOGOUT\r\n", "a9 OK", 0 } },
    { { "NOOP\r\n", "+OK", 0 }, { "QUIT\r\n", "+OK", 0 } },
    { { "NOOP\r\n", "250 ", 0 }, { "QUIT\r\n", "221 ", 0 } },
};
static const struct step mail[] = {
    { "MAIL FROM:<user@example.com>\r\n", "250 ", 0 },
    { "RCPT TO:<other@example.com>\r\n", "250 ", 0 },
    { "DATA\r\n", "354 ", 0 },
    { ".\r\n", "250 ", MESSAGE },
    { 0 },
};
static char command[64];
static struct step down[] = { { command, "a3 OK", 0 }, { 0 } };
static struct step up[] = { { command, "+", 0 }, { "\r\n", "a4 OK", 0 }, { 0 } };

enum fate { WHOLE, WRONG, CUT_IN_HANDSHAKE, CUT_IN_LOGIN, CUT_LOGGED_IN };
enum state { CLOSED, CONNECTING, HANDSHAKE, TALKING, READY };
struct connection {
    int fd, writable_wanted, logged_in, times;
    enum state state;
    enum fate fate;
    SSL *tls;
    SSL_SESSION *ticket; /* outlives the connection */
    double began;
    const struct step *step;
    const char *out;
    int out_left;
    long body_left, skip; /* octets of a body still to send; of an IMAP literal, still to come */
    char line[512];
    int line_length;
};

static enum mode mode;
static enum protocol protocol;
static int clear, resume, mixed, at_once = 32, times = 1000, sessions = 1, seconds = 10;
static long mebibytes = 64;
static struct sockaddr_in server;
static int epoll;
static SSL_CTX *context;
static struct connection *connections;
static double *latencies;
static long latencies_count, latencies_most;
static int started, ended, errors, ready, resumed, done, under_way, wanted, loaded;
static char body[BODY], input[256 * 1024];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}
static double cpu(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}
static void took(double since)
{
    if (latencies_count < latencies_most)
        latencies[latencies_count++] = now() - since;
}
static void want_writable(struct connection *c, int wanted_now)
{
    struct epoll_event event = { .events = EPOLLIN | (wanted_now ? EPOLLOUT : 0), .data.ptr = c };
    if (wanted_now == c->writable_wanted)
        return;
    c->writable_wanted = wanted_now;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}
static int keep_ticket(SSL *tls, SSL_SESSION *ticket)
{
    struct connection *c = SSL_get_app_data(tls);
    SSL_SESSION_free(c->ticket);
    c->ticket = ticket;
    return 1;
}

/* ---- a connection from its start to its end */
static void start(struct connection *c)
{
    static unsigned source;
    const int one = 1;
    struct sockaddr_in from = { .sin_family = AF_INET };
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
    SSL_SESSION *ticket = c->ticket;

    memset(c, 0, sizeof *c);
    c->ticket = ticket;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    from.sin_addr.s_addr = htonl((mode == REFUSED ? 0x7f000201 : 0x7f000101) + source++ % 200);
    c->state = CONNECTING;
    c->fate = mixed ? (started + started / 200) % 10 : WHOLE; /* each source has them all */
    if (c->fate > CUT_LOGGED_IN)
        c->fate = WHOLE;
    c->writable_wanted = 1;
    c->began = now();
    if (bind(c->fd, (void *)&from, sizeof from) || (connect(c->fd, (void *)&server, sizeof server) && errno != EINPROGRESS)) {
        perror("connect");
        exit(1);
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    started++;
    under_way++;
}
static void end(struct connection *c, int failed)
{
    if (c->tls) { /* without these flags the ticket would be spoiled */
        SSL_set_shutdown(c->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->tls);
    }
    close(c->fd);
    if (!c->logged_in)
        under_way--;
    c->tls = 0;
    c->state = CLOSED;
    ended++;
    errors += failed;
    if ((mode == LOGIN || mode == REFUSED) && started < wanted)
        start(c);
}
/* Octets moved, 0: not now, -1: it is over. */
static int move(struct connection *c, int out, void *data, int length)
{
    int n = c->tls ? (ERR_clear_error(), out ? SSL_write(c->tls, data, length) : SSL_read(c->tls, data, length))
                   : (int)(out ? send(c->fd, data, length, MSG_NOSIGNAL) : recv(c->fd, data, length, 0));
    int later = c->tls ? SSL_get_error(c->tls, n) : errno == EAGAIN ? out ? SSL_ERROR_WANT_WRITE : SSL_ERROR_WANT_READ : 0;
    if (n > 0)
        return n;
    if (later == SSL_ERROR_WANT_WRITE)
        want_writable(c, 1);
    return n < 0 && (later == SSL_ERROR_WANT_WRITE || later == SSL_ERROR_WANT_READ) ? 0 : -1;
}

/* ---- scripts */
static void say(struct connection *c, const struct step *step)
{
    c->state = TALKING;
    c->step = step;
    c->out = step->send;
    c->out_left = strlen(step->send);
    c->body_left = step->body;
}
static void play(struct connection *c)
{
    static const struct step *const bulk[] = { [DOWN] = down, [UP] = up, [MAIL] = mail };
    c->began = now();
    say(c, mode == NOOP || mode == EACH_SECOND ? noops[protocol] : bulk[mode]);
}
static void script_ended(struct connection *c)
{
    if (c->logged_in) {
        if (mode == LOGIN) {
            end(c, 0);
            return;
        }
        took(c->began);
        done++;
        c->state = READY;
        if (mode != EACH_SECOND && ++c->times < times)
            play(c);
        return;
    }
    if (c->fate == WRONG || c->fate == CUT_LOGGED_IN) {
        end(c, 0);
        return;
    }
    c->logged_in = 1;
    under_way--;
    ready++;
    c->state = READY;
    took(c->began);
    if (mode == LOGIN)
        say(c, mixed ? goodbyes[protocol] : logouts[protocol]);
}
static int refusal(const struct connection *c)
{
    return protocol == IMAP ? *c->line == 'a' : protocol == POP3 ? *c->line == '-' : *c->line == '4' || *c->line == '5';
}
static void line_came(struct connection *c)
{
    const char *literal = strrchr(c->line, '{');
    if (c->state != TALKING)
        return;
    if (!strncmp(c->line, c->step->expect, strlen(c->step->expect))) {
        if (c->step[1].send)
            say(c, c->step + 1);
        else
            script_ended(c);
    } else if (refusal(c)) {
        if (errors < 3)
            fprintf(stderr, "refused: %s\n", c->line);
        end(c, 1);
    } else if (protocol == IMAP && literal && c->line[c->line_length - 1] == '}')
        c->skip = atol(literal + 1);
}

/* ---- events */
/* Whether all has been sent: 1, not yet: 0, it is over: -1. */
static int send_all(struct connection *c)
{
    while (c->body_left || c->out_left) {
        long at = (c->step->body - c->body_left) % BODY, chunk = BODY - at < c->body_left ? BODY - at : c->body_left;
        int n = c->body_left ? move(c, 1, body + at, (int)chunk) : move(c, 1, (void *)c->out, c->out_left);
        if (n <= 0)
            return n;
        if (c->body_left)
            c->body_left -= n;
        else {
            c->out += n;
            c->out_left -= n;
        }
    }
    want_writable(c, 0);
    return 1;
}
/* Whether the connection is still the one it was. */
static int take(struct connection *c, char *at, char *stop)
{
    while (at < stop) {
        char *newline;
        long length, kept;
        if (c->skip) {
            length = stop - at < c->skip ? stop - at : c->skip;
            c->skip -= length;
            at += length;
            continue;
        }
        newline = memchr(at, '\n', stop - at);
        length = newline ? newline - at + 1 : stop - at;
        kept = c->line_length + length < (long)sizeof c->line ? length : (long)sizeof c->line - 1 - c->line_length;
        memcpy(c->line + c->line_length, at, kept);
        c->line_length += kept;
        at += length;
        if (!newline)
            break;
        while (c->line_length && strchr("\r\n", c->line[c->line_length - 1]))
            c->line_length--;
        c->line[c->line_length] = 0;
        line_came(c);
        if (c->state == CLOSED || c->state == CONNECTING)
            return 0;
        c->line_length = 0;
    }
    return 1;
}
static int connected(struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        end(c, mode != REFUSED || error != ECONNRESET);
        return 0;
    }
    if (mode == REFUSED) {
        c->state = READY;
        want_writable(c, 0);
    } else if (clear)
        say(c, logins[protocol]);
    else {
        c->tls = SSL_new(context);
        SSL_set_app_data(c->tls, c);
        SSL_set_fd(c->tls, c->fd);
        if (resume && c->ticket)
            SSL_set_session(c->tls, c->ticket);
        c->state = HANDSHAKE;
    }
    return 1;
}
static int shaken(struct connection *c)
{
    int n, error;
    ERR_clear_error();
    n = SSL_connect(c->tls);
    error = SSL_get_error(c->tls, n);
    if (n == 1) {
        resumed += SSL_session_reused(c->tls);
        say(c, (c->fate == WRONG ? wrong_logins : logins)[protocol]);
        return 1;
    }
    if (error == SSL_ERROR_WANT_READ && c->fate == CUT_IN_HANDSHAKE) {
        end(c, 0);
        return 0;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        want_writable(c, error == SSL_ERROR_WANT_WRITE);
    else {
        if (errors < 3)
            ERR_print_errors_fp(stderr);
        end(c, 1);
    }
    return 0;
}
static void drive(struct connection *c)
{
    if (c->state == CONNECTING && !connected(c))
        return;
    if (c->state == HANDSHAKE && !shaken(c))
        return;
    for (;;) {
        int n = c->step ? send_all(c) : 1;
        if (n > 0 && c->fate == CUT_IN_LOGIN && c->step && !c->step[1].send) {
            end(c, 0);
            return;
        }
        if (n >= 0)
            n = move(c, 0, input, sizeof input);
        if (n == 0)
            return;
        if (n < 0) { /* what a refused client hears before its end is a reply in clear, or nothing */
            if (c->logged_in && mode != LOGIN)
                ready--;
            if (mode == REFUSED)
                took(c->began);
            end(c, mode != REFUSED);
            return;
        }
        if (mode != REFUSED && !take(c, input, input + n))
            return;
    }
}
static void turn(int milliseconds)
{
    struct epoll_event events[256];
    int n = epoll_wait(epoll, events, 256, milliseconds);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state != CLOSED)
            drive(c);
    }
}

/* ---- what is done */
static void churn(int count)
{
    double until = now() + PATIENCE;
    started = ended = errors = resumed = ready = 0;
    latencies_count = 0;
    wanted = count;
    for (int i = 0; i < at_once && started < wanted; i++)
        start(&connections[i]);
    while (ended < wanted && now() < until)
        turn(1000);
}
static void log_all_in(void)
{
    double until = now() + PATIENCE;
    while (ready + errors < sessions && now() < until) {
        while (started < sessions && under_way < at_once)
            start(&connections[started]);
        turn(100);
    }
    loaded = ready;
    latencies_count = 0;
}
static void play_all(void)
{
    double until = now() + PATIENCE;
    for (int i = 0; i < sessions; i++)
        if (connections[i].state == READY) {
            play(&connections[i]);
            drive(&connections[i]);
        }
    while (done < loaded * times && !errors && now() < until)
        turn(1000);
}
/* A NOOP that is due while the one before it has no answer is an error. */
static void play_each_second(void)
{
    double began = now();
    long due = 0, total = (long)sessions * seconds, late = 0;
    while (due < total) {
        struct connection *c = &connections[due % sessions];
        double wait = began + (double)due / sessions - now();
        if (wait > 0) {
            turn(wait > 0.1 ? 100 : (int)(wait * 1000) + 1);
            continue;
        }
        due++;
        if (c->state == READY) {
            play(c);
            drive(c);
        } else
            late++;
    }
    for (double until = now() + 2; done + late < total && now() < until;)
        turn(100);
    errors += late;
}
static void wait_for_go(void)
{
    char line[16];
    puts("READY");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(1);
}
static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static void report(double wall, double cpu_seconds)
{
    long n = latencies_count;
    double bytes = mode == DOWN || mode == UP ? (double)done * (mebibytes << 20) : 0;
    long units = mode == LOGIN || mode == REFUSED ? ended - errors : mode == HOLD ? loaded : done;
    qsort(latencies, n, sizeof *latencies, ascending);
    printf("{\"units\":%ld,\"errors\":%d,\"sessions\":%d,\"resumed\":%d,\"wall\":%.4f,\"bytes\":%.0f,\"cpu\":%.3f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           units, errors, loaded, resumed, wall, bytes, cpu_seconds, n ? latencies[n / 2] * 1e6 : 0,
           n ? latencies[n * 99 / 100] * 1e6 : 0);
}
static int read_arguments(int count, char **arguments)
{
    int option;
    if (count < 5)
        return 0;
    for (mode = 0; mode < MODES && strcmp(modes[mode], arguments[1]); mode++)
        ;
    for (protocol = 0; protocol < 3 && strcmp(protocols[protocol], arguments[2]); protocol++)
        ;
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(arguments[4]));
    optind = 5;
    while ((option = getopt(count, arguments, "n:c:k:s:t:rpf")) != -1)
        switch (option) {
        case 'n': at_once = atoi(optarg); break;
        case 'c': times = atoi(optarg); break;
        case 'k': sessions = atoi(optarg); break;
        case 's': mebibytes = atol(optarg); break;
        case 't': seconds = atoi(optarg); break;
        case 'r': resume = 1; break;
        case 'p': clear = 1; break;
        case 'f': mixed = 1; break;
        default: return 0;
        }
    return mode < MODES && protocol < 3 && at_once > 0 && times > 0 && sessions > 0 && seconds > 0 && mebibytes > 0 &&
           inet_pton(AF_INET, arguments[3], &server.sin_addr) == 1 && ((mode != DOWN && mode != UP) || protocol == IMAP) &&
           (mode != MAIL || protocol == SMTP);
}
static void prepare(void)
{
    static const char head[] = "Subject: load\r\n\r\n";
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (mode == DOWN)
        SSL_CTX_set_default_read_buffer_len(context, 131072);
    if (resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_ticket);
    }
    snprintf(command, sizeof command, mode == UP ? "a4 APPEND INBOX {%ld}\r\n" : "a3 FETCH %ld BODY[]\r\n",
             mode == UP ? mebibytes << 20 : mebibytes);
    up[1].body = mebibytes << 20;
    memset(body, 'x', BODY);
    for (int i = 64; i <= BODY; i += 64)
        memcpy(body + i - 2, "\r\n", 2);
    memcpy(body, head, sizeof head - 1);
    epoll = epoll_create1(0);
    connections = calloc(at_once > sessions ? at_once : sessions, sizeof *connections);
    latencies_most = 4000000;
    latencies = malloc(latencies_most * sizeof *latencies);
}
int main(int count, char **arguments)
{
    double began, cpu_began;
    if (!read_arguments(count, arguments)) {
        fputs("client MODE PROTOCOL HOST PORT [-n AT_ONCE] [-c TIMES] [-k SESSIONS] [-s MIB] [-t SECONDS] [-r] [-p] [-f]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prepare();
    if (mode == LOGIN)
        churn(2 * at_once);
    else if (mode != REFUSED)
        log_all_in();
    wait_for_go();
    began = now();
    cpu_began = cpu();
    if (mode == LOGIN || mode == REFUSED)
        churn(times);
    else if (mode == EACH_SECOND)
        play_each_second();
    else if (mode != HOLD)
        play_all();
    report(now() - began, cpu() - cpu_began);
    fflush(stdout);
    _exit(0);
}
