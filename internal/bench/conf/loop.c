// loop is one thread and one epoll, without timers, parsing or allocation by
// request: the floor under what a server can cost.
//
//	loop answer PORT FILE   answers each request head with FILE's bytes
//	loop proxy PORT BACK    passes bytes between a client and 127.0.0.1:BACK, a
//	                        connection there for each one here
//	loop origin PORT COUNT  what the contenders stand in front of: listens on
//	                        127.0.0.1 and on COUNT addresses from 127.1.0.1 on
//
// The origin answers by its path's first letter, all but /requests with as many
// bytes as the number behind the letter says:
//
//	/c1024...  may be stored for an hour    /n1024...  may not be stored
//	/s1024...  likewise, in chunks          /admin...  as /n2048
//	/w         a websocket that echoes      /requests  how many it has answered
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>

enum { IN = 16 << 10, PIECE = 64 << 10, CHUNK = 16 << 10, LARGEST = 4 << 20 };

struct conn {
	int fd, listens, closes, websocket;
	uint32_t wants;
	// answer and origin: what has been read of a request, how much of its body
	// is still to come, what is still to be written.
	char in[IN];
	size_t have, body;
	char head[512];
	struct iovec out[2];
	// proxy: the other side, what it did not take yet.
	struct conn *peer;
	char *late;
	size_t nlate;
	int gone;
	struct conn *next;
};

static int poller;
static struct conn *dead; // freed after the events at hand, which may name them
static const char *fixed; // what answer answers
static size_t nfixed;
static int backend;     // proxy's
static char *page;      // the bytes of all bodies
static char *text;      // but of those that are text
static char *streamed;  // the same in chunks, and its length by body
static unsigned long long requests;
static char date[64];
static char piece[PIECE];
static enum { ANSWER, PROXY, ORIGIN } mode;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void want(struct conn *c, uint32_t events) {
	if (c->wants == events)
		return;
	struct epoll_event e = {.events = events, .data.ptr = c};
	epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
	c->wants = events;
}

static struct conn *add(int fd, int listens) {
	struct conn *c = calloc(1, sizeof *c);
	if (!c)
		die("calloc");
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->fd = fd;
	c->listens = listens;
	c->wants = EPOLLIN;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e))
		die("epoll_ctl");
	return c;
}

static void drop(struct conn *c) {
	if (c->gone)
		return;
	c->gone = 1;
	close(c->fd);
	free(c->late);
	c->late = NULL;
	c->next = dead;
	dead = c;
	if (c->peer)
		drop(c->peer);
}

// flush writes what is to be written, and returns 1 once it is.
static int flush(struct conn *c) {
	while (c->out[0].iov_len + c->out[1].iov_len > 0) {
		ssize_t n = writev(c->fd, c->out, 2);
		if (n < 0) {
			if (errno != EAGAIN) {
				drop(c);
				return 0;
			}
			want(c, EPOLLOUT);
			return 0;
		}
		for (int i = 0; i < 2; i++) {
			size_t k = (size_t)n < c->out[i].iov_len ? (size_t)n : c->out[i].iov_len;
			c->out[i].iov_base = (char *)c->out[i].iov_base + k;
			c->out[i].iov_len -= k;
			n -= k;
		}
	}
	want(c, EPOLLIN);
	if (c->closes) {
		drop(c);
		return 0;
	}
	return 1;
}

// write_text makes up a list of products, which compresses as pages do.
static void write_text(void) {
	static const char *words[] = {"lamp", "chair", "table", "oak", "green", "small", "garden", "kitchen", "summer", "set of four", "steel", "linen", "white",
		"with a lid", "for two", "new", "round", "shelf", "blanket", "bottle", "wool", "glass", "bowl", "classic", "folding", "light", "warm", "blue"};
	const unsigned count = sizeof words / sizeof *words;
	unsigned r = 1;
	for (size_t at = 0; at < LARGEST;) {
		const char *w[4];
		unsigned n[4];
		for (int i = 0; i < 4; i++) {
			r = r * 1664525 + 1013904223;
			n[i] = r >> 8;
			w[i] = words[n[i] % count];
		}
		at += snprintf(text + at, 256, "<li class=\"product\"><a href=\"/p/%u\"><img src=\"/media/%x.webp\" alt=\"%s %s\"></a> <b>%s, %s</b> <span class=\"price\">%u.%02u</span></li>\n",
			n[0] % 100000, n[1], w[0], w[1], w[2], w[3], n[2] % 200, n[3] % 100);
	}
}

// respond puts the origin's answer to the head in c->in into c->out.
static void respond(struct conn *c) {
	const char *path = strchr(c->in, ' ');
	char kind = path ? path[2] : 0;
	size_t size = 0;
	if (path && strncmp(path, " /requests ", 11) == 0) {
		int n = snprintf(c->head, sizeof c->head, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n%020llu", requests);
		c->out[0] = (struct iovec){c->head, n};
		return;
	}
	requests++;
	if (kind == 'w' && strcasestr(c->in, "\nupgrade: websocket")) {
		c->websocket = 1; // the answer to the key of RFC 6455, section 1.3
		int n = snprintf(c->head, sizeof c->head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
		c->out[0] = (struct iovec){c->head, n};
		return;
	}
	if (kind == 'a')
		size = 2048;
	else if (kind == 'c' || kind == 'n' || kind == 's')
		size = strtoul(path + 3, NULL, 10);
	if (size == 0 || size > LARGEST) {
		int n = snprintf(c->head, sizeof c->head, "HTTP/1.1 404 Not Found\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", date);
		c->out[0] = (struct iovec){c->head, n};
		return;
	}
	char length[64] = "Transfer-Encoding: chunked";
	if (kind != 's')
		snprintf(length, sizeof length, "Content-Length: %zu", size);
	int n = snprintf(c->head, sizeof c->head, "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/html; charset=utf-8\r\n%s\r\n%s\r\n\r\n",
		date, length, kind == 'c' ? "Cache-Control: max-age=3600\r\nETag: \"v1\"" : "Cache-Control: private, no-store");
	c->out[0] = (struct iovec){c->head, n};
	c->out[1] = (struct iovec){strncmp(path + 3 + strspn(path + 3, "0123456789"), "/text ", 6) ? page : text, size};
	if (kind != 's')
		return;
	// Whole chunks, built for the size that was asked for last: workloads have one.
	static const char end[] = "0\r\n\r\n";
	static size_t built;
	size_t chunks = (size + CHUNK - 1) / CHUNK, each = 6 + CHUNK + 2;
	if (built != chunks) {
		for (size_t i = 0; i < chunks; i++) {
			memcpy(streamed + i * each, "4000\r\n", 6);
			memset(streamed + i * each + 6, 'x', CHUNK);
			memcpy(streamed + i * each + 6 + CHUNK, "\r\n", 2);
		}
		memcpy(streamed + chunks * each, end, sizeof end - 1);
		built = chunks;
	}
	c->out[1] = (struct iovec){streamed, chunks * each + sizeof end - 1};
}

// echo answers the websocket frames in c->in that are whole. They are short,
// masked by zeros, and go back without their mask.
static size_t echo(struct conn *c) {
	size_t at = 0, n = 0;
	while (c->have - at >= 6 && c->have - at >= 6 + (size_t)(c->in[at + 1] & 0x7f)) {
		size_t len = c->in[at + 1] & 0x7f;
		if (n + 2 + len > sizeof c->head)
			break;
		c->head[n] = c->in[at];
		c->head[n + 1] = len;
		memcpy(c->head + n + 2, c->in + at + 6, len);
		n += 2 + len;
		at += 6 + len;
	}
	c->out[0] = (struct iovec){c->head, n};
	return at;
}

// next takes a request out of c->in, if it is whole, and prepares its answer.
static int next(struct conn *c) {
	size_t used;
	if (c->websocket) {
		used = echo(c);
	} else {
		if (c->body > 0) {
			size_t k = c->body < c->have ? c->body : c->have;
			c->body -= k;
			memmove(c->in, c->in + k, c->have -= k);
			if (c->body > 0)
				return 0;
			c->out[0].iov_len = strlen(c->head);
			return 1;
		}
		char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
		if (!end)
			return 0;
		used = end + 4 - c->in;
		if (mode == ANSWER) {
			c->out[0] = (struct iovec){(char *)fixed, nfixed};
		} else {
			*end = 0;
			char *length = strcasestr(c->in, "\ncontent-length:");
			if (strcasestr(c->in, "\nconnection: close"))
				c->closes = 1;
			if (strcasestr(c->in, "\ntransfer-encoding:")) {
				fprintf(stderr, "loop: a request in chunks, which the origin does not read\n");
				drop(c);
				return 0;
			}
			respond(c);
			if (length && (c->body = strtoul(length + 16, NULL, 10)) > 0) {
				c->out[0].iov_len = 0; // until the body is there: see above
				memmove(c->in, c->in + used, c->have -= used);
				return next(c);
			}
		}
	}
	memmove(c->in, c->in + used, c->have -= used);
	return used > 0;
}

static void serve(struct conn *c, uint32_t events) {
	if (events & EPOLLOUT && !flush(c))
		return;
	if (!(events & ~EPOLLOUT))
		return;
	if (c->have == IN) {
		drop(c);
		return;
	}
	ssize_t n = read(c->fd, c->in + c->have, IN - c->have);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			drop(c);
		return;
	}
	c->have += n;
	while (next(c))
		if (!flush(c))
			return;
}

static void pass(struct conn *c, uint32_t events) {
	struct conn *to = c->peer;
	if (events & EPOLLOUT) { // c takes what is late, then its peer may be read
		ssize_t n = write(c->fd, c->late, c->nlate);
		if (n < 0 && errno != EAGAIN) {
			drop(c);
			return;
		}
		if (n > 0)
			memmove(c->late, c->late + n, c->nlate -= n);
		if (c->nlate == 0) {
			want(c, EPOLLIN);
			want(to, EPOLLIN);
		}
	}
	if (!(events & ~EPOLLOUT) || to->nlate > 0)
		return;
	ssize_t n = read(c->fd, piece, sizeof piece);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			drop(c);
		return;
	}
	ssize_t sent = write(to->fd, piece, n);
	if (sent < 0) {
		if (errno != EAGAIN) {
			drop(c);
			return;
		}
		sent = 0;
	}
	if (sent < n) {
		if (!to->late && !(to->late = malloc(PIECE)))
			die("malloc");
		memcpy(to->late, piece + sent, to->nlate = n - sent);
		want(c, 0);
		want(to, EPOLLOUT);
	}
}

static struct sockaddr_in at(uint32_t host, int port) {
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
}

static void welcome(struct conn *listener) {
	for (;;) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			return;
		struct conn *c = add(fd, 0);
		if (mode != PROXY)
			continue;
		struct sockaddr_in to = at(INADDR_LOOPBACK, backend);
		int out = socket(AF_INET, SOCK_STREAM, 0);
		if (out < 0 || connect(out, (struct sockaddr *)&to, sizeof to))
			die("connect");
		fcntl(out, F_SETFL, O_NONBLOCK);
		c->peer = add(out, 0);
		c->peer->peer = c;
	}
}

static void listens(uint32_t host, int port) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	struct sockaddr_in here = at(host, port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 4096))
		die("listen");
	add(fd, 1);
}

int main(int argc, char **argv) {
	if (argc != 4) {
		fprintf(stderr, "usage: loop answer PORT FILE | proxy PORT BACK | origin PORT COUNT\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	mode = argv[1][0] == 'a' ? ANSWER : argv[1][0] == 'p' ? PROXY : ORIGIN;
	int port = atoi(argv[2]), count = 0;
	poller = epoll_create1(0);
	if (mode == PROXY) {
		backend = atoi(argv[3]);
	} else if (mode == ANSWER) {
		int fd = open(argv[3], O_RDONLY);
		struct stat st;
		if (fd < 0 || fstat(fd, &st))
			die(argv[3]);
		char *b = malloc(nfixed = st.st_size);
		if (!b || read(fd, b, nfixed) != (ssize_t)nfixed)
			die(argv[3]);
		fixed = b;
	} else {
		count = atoi(argv[3]);
		page = malloc(LARGEST);
		streamed = malloc(LARGEST + LARGEST / CHUNK * 8 + 64);
		if (!page || !streamed)
			die("malloc");
		memset(page, 'x', LARGEST);
		text = malloc(LARGEST + 256);
		if (!text)
			die("malloc");
		write_text();
	}
	listens(INADDR_LOOPBACK, port);
	for (int i = 0; i < count; i++)
		listens((127u << 24 | 1u << 16 | 1u) + i + i / 250 * 6, port);
	time_t last = 0;
	struct epoll_event events[256];
	for (;;) {
		int n = epoll_wait(poller, events, 256, -1);
		time_t now = time(NULL);
		if (now != last) {
			struct tm tm;
			gmtime_r(&now, &tm);
			strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
			last = now;
		}
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (c->gone)
				continue;
			if (c->listens)
				welcome(c);
			else if (mode == PROXY)
				pass(c, events[i].events);
			else
				serve(c, events[i].events);
		}
		while (dead) {
			struct conn *c = dead;
			dead = c->next;
			free(c);
		}
	}
}
