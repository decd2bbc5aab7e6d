/* SPDX-License-Identifier: MIT
 *
 * comm_place.c - addresses of this machine, and the file of rank 0.  Contract: comm_place.h.
 */
#define _GNU_SOURCE /* IFF_UP */
#include "common/comm_place.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "common/xmem.h"

#define FILE_MAX 16384
#define JOB_MAX 200 /* letters in the name of a file */
#define FORMAT 1

/* ---- addresses ---- */

/* The kernel's number of this start of the machine; else its name. */
static void name_machine(char *text, size_t room)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

    memset(text, 0, room);
    if (f && fgets(text, (int)room, f))
        text[strcspn(text, "\n")] = '\0';
    else
        (void)!gethostname(text, room - 1);
    if (f)
        fclose(f);
}

static void add_addresses(struct comm_place *p, const struct ifaddrs *all, bool loopback)
{
    for (const struct ifaddrs *i = all; i && p->n_addresses < COMM_ADDRESSES; i = i->ifa_next) {
        const struct sockaddr_in *at = (const void *)i->ifa_addr;

        if (!at || at->sin_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            !(i->ifa_flags & IFF_LOOPBACK) == loopback)
            continue;
        if (inet_ntop(AF_INET, &at->sin_addr, p->address[p->n_addresses], sizeof(p->address[0])))
            p->n_addresses++;
    }
}

int comm_place_here(struct comm_place *p, struct dnas_err *err)
{
    const char *wish = getenv("DNAS_ADDRESS");
    struct ifaddrs *all = NULL;

    memset(p, 0, sizeof(*p));
    name_machine(p->machine, sizeof(p->machine));
    if (wish && *wish) {
        if (strlen(wish) >= sizeof(p->address[0]))
            return dnas_err_set(err, "DNAS_ADDRESS is no numeric address: '%s'", wish);
        memcpy(p->address[0], wish, strlen(wish));
        p->n_addresses = 1;
        return 0;
    }
    if (getifaddrs(&all) != 0)
        return dnas_err_set(err, "the addresses of this machine cannot be had: %s",
                            strerror(errno));
    add_addresses(p, all, false);
    add_addresses(p, all, true);
    freeifaddrs(all);
    return p->n_addresses > 0 ? 0
                              : dnas_err_set(err, "this machine has no address of its network: set "
                                                  "DNAS_ADDRESS");
}

int comm_notice_secret(struct comm_notice *n, struct dnas_err *err)
{
    FILE *f = fopen("/dev/urandom", "rb");
    bool done = f && fread(n->secret, sizeof(n->secret), 1, f) == 1;

    if (f)
        fclose(f);
    return done ? 0 : dnas_err_set(err, "/dev/urandom: cannot be read: %s", strerror(errno));
}

/* ---- the file ---- */

char *comm_notice_path(const char *folder, const char *job, struct dnas_err *err)
{
    struct dnas_text name = {0};
    char *path = NULL;

    dnas_text_printf(&name, "%s", "");
    for (const unsigned char *p = (const unsigned char *)job; *p; p++)
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
            strchr("._-", *p))
            dnas_text_append(&name, (const char *)p, 1);
        else
            dnas_text_printf(&name, "%%%02X", *p);
    if (name.n == 0 || name.n > JOB_MAX)
        dnas_err_set(err, "the job's name has %s letters: give --job a shorter one",
                     name.n == 0 ? "no" : "too many");
    else
        path = dnas_xasprintf("%s/dnas-%s.rendezvous", folder, name.data);
    free(name.data);
    return path;
}

static char *to_json(const struct comm_notice *n)
{
    char secret[4 * COMM_SECRET + 1] = "";
    json_t *addresses = json_array(), *j;
    char *text;

    for (size_t i = 0; i < sizeof(n->secret); i++)
        snprintf(secret + 2 * i, 3, "%02x", n->secret[i]);
    for (uint32_t i = 0; i < n->place.n_addresses; i++)
        json_array_append_new(addresses, json_string(n->place.address[i]));
    j = json_pack("{s:i, s:s, s:i, s:s, s:I, s:o}", "dnas-rendezvous", FORMAT, "secret", secret,
                  "ranks", n->n_ranks, "machine", n->place.machine, "port",
                  (json_int_t)n->place.port, "addresses", addresses);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return dnas_xhave(text, "a file of rank 0");
}

/* Closes fd, too. */
static int write_whole(int fd, const char *text)
{
    int status = 0;

    for (size_t at = 0, n = strlen(text); status == 0 && at < n;) {
        ssize_t k = write(fd, text + at, n - at);

        status = k < 0 && errno != EINTR ? -1 : 0;
        at += k > 0 ? (size_t)k : 0;
    }
    if (status == 0)
        status = fsync(fd);
    return close(fd) == 0 ? status : -1;
}

int comm_notice_write(const char *path, const struct comm_notice *n, struct dnas_err *err)
{
    char *part = dnas_xasprintf("%s.%ld", path, (long)getpid()), *text = to_json(n);
    int fd, status = -1;

    unlink(part);
    fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && write_whole(fd, text) == 0 && rename(part, path) == 0)
        status = 0;
    else
        dnas_err_set(err, "%s: cannot be written: %s", path, strerror(errno));
    if (status != 0)
        unlink(part);
    free(part);
    free(text);
    return status;
}

static bool from_hex(unsigned char *out, size_t n, const char *text)
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(text) != 2 * n)
        return false;
    for (size_t i = 0; i < 2 * n; i++) {
        const char *digit = strchr(digits, text[i]);

        if (!digit)
            return false;
        out[i / 2] = (unsigned char)((i % 2 ? out[i / 2] << 4 : 0) | (digit - digits));
    }
    return true;
}

/* The text at most one byte shorter than its place. */
static bool take_text(char *out, size_t room, const char *text)
{
    if (strlen(text) >= room)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool from_json(struct comm_notice *n, const char *text, size_t size)
{
    json_t *j = json_loadb(text, size, 0, NULL), *addresses = NULL;
    const char *secret, *machine;
    json_int_t port = 0;
    int format = 0;
    bool good;

    memset(n, 0, sizeof(*n));
    good = j &&
           json_unpack(j, "{s:i, s:s, s:i, s:s, s:I, s:o}", "dnas-rendezvous", &format, "secret",
                       &secret, "ranks", &n->n_ranks, "machine", &machine, "port", &port,
                       "addresses", &addresses) == 0 &&
           format == FORMAT && port > 0 && port < 65536 &&
           json_array_size(addresses) <= COMM_ADDRESSES &&
           from_hex(n->secret, sizeof(n->secret), secret) &&
           take_text(n->place.machine, sizeof(n->place.machine), machine);
    n->place.port = (uint32_t)port;
    for (size_t i = 0; good && i < json_array_size(addresses); i++) {
        const char *address = json_string_value(json_array_get(addresses, i));

        good = address && take_text(n->place.address[i], sizeof(n->place.address[i]), address);
        n->place.n_addresses++;
    }
    json_decref(j);
    return good;
}

/* Listing its folder makes a network's file system ask the server whether a file is there. */
static void ask_server(const char *path)
{
    char *folder = dnas_xstrndup(path, (size_t)(strrchr(path, '/') - path) + 1);
    DIR *d = opendir(folder);

    if (d)
        closedir(d);
    free(folder);
}

int comm_notice_read(struct comm_notice *n, const char *path, struct dnas_err *err)
{
    char text[FILE_MAX];
    struct stat about;
    size_t size = 0;
    int fd;

    ask_server(path);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        dnas_err_set(err, "%s: %s", path, strerror(errno));
        return 0;
    }
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || about.st_uid != geteuid()) {
        close(fd);
        return dnas_err_set(err, "%s: is no file of this user: give --rendezvous a folder of yours",
                            path);
    }
    for (ssize_t k = 1; k > 0 && size < sizeof(text);) {
        k = read(fd, text + size, sizeof(text) - size);
        size += k > 0 ? (size_t)k : 0;
    }
    close(fd);
    if (from_json(n, text, size))
        return 1;
    dnas_err_set(err, "%s: is not whole", path);
    return 0;
}

void comm_notice_remove(const char *path, const struct comm_notice *n)
{
    struct comm_notice there;

    if (comm_notice_read(&there, path, NULL) == 1 &&
        memcmp(there.secret, n->secret, sizeof(n->secret)) == 0)
        unlink(path);
}
