/* Records what a process and its children do to the files under one folder, in the order in which it happens.

   Loaded with LD_PRELOAD. EXECUTUS_RECORD_UNDER names the folder (a real path), EXECUTUS_RECORD_TO the file to append
   records to. A record is one write(2), so that those of several processes do not mix:

       u32 size of what follows, u8 kind, u64 inode, i64 offset or length, u16 size of path, path, data

   path is relative to the folder. Kinds: C created, W written (data), T cut to a length, B sync began, S sync ended,
   U unlinked, R renamed (data: the new path), D directory made, K directory removed, L linked (data: the new path),
   X something that cannot be recorded (data: what). A record is appended after the call succeeded, B before.

   What is written through shared memory is not seen: SQLite's -shm, which a crash makes worthless anyway. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static pid_t out_of = 0;
static char under[4096];
static size_t under_size;

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int recording(void) {
    if (under_size == 0) {
        const char *folder = getenv("EXECUTUS_RECORD_UNDER");
        if (!folder || !getenv("EXECUTUS_RECORD_TO")) return 0;
        strncpy(under, folder, sizeof under - 1);
        under_size = strlen(under);
    }
    return under_size > 0;
}

static int output(void) {
    if (out < 0 || out_of != getpid()) {
        int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
        out = real_open(getenv("EXECUTUS_RECORD_TO"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (out >= 0 && out < 200) {  /* out of the way of programs that count descriptors or close low ones */
            int high = fcntl(out, F_DUPFD_CLOEXEC, 200);
            if (high >= 0) {
                close(out);
                out = high;
            }
        }
        out_of = getpid();
    }
    return out;
}

/* The path of a descriptor relative to the folder, or NULL if it is elsewhere; inode is set. */
static const char *within(int fd, char *path, uint64_t *inode) {
    char link[64];
    struct stat seen;
    if (!recording()) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, 4095);
    if (size < (ssize_t)under_size || memcmp(path, under, under_size) != 0) return NULL;
    path[size] = 0;
    if (path[under_size] != 0 && path[under_size] != '/') return NULL;
    if (fstat(fd, &seen) != 0 || !(S_ISREG(seen.st_mode) || S_ISDIR(seen.st_mode))) return NULL;
    *inode = seen.st_ino;
    return path + under_size + (path[under_size] == '/');
}

/* The same for a name in a directory. */
static const char *within_at(int at, const char *name, char *path) {
    if (!recording() || !name) return NULL;
    if (name[0] == '/') {
        snprintf(path, 4096, "%s", name);
    } else if (at == AT_FDCWD) {
        if (!getcwd(path, 2048)) return NULL;
        size_t size = strlen(path);
        snprintf(path + size, 4096 - size, "/%s", name);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t size = readlink(link, path, 2048);
        if (size < 0) return NULL;
        snprintf(path + size, 4096 - size, "/%s", name);
    }
    if (strncmp(path, under, under_size) != 0 || path[under_size] != '/') return NULL;
    return path + under_size + 1;
}

static void record(char kind, uint64_t inode, int64_t number, const char *path, const void *data, size_t size) {
    uint16_t path_size = (uint16_t)strlen(path);
    uint32_t all = 1 + 8 + 8 + 2 + path_size + size;
    char head[4 + 1 + 8 + 8 + 2];
    memcpy(head, &all, 4);
    head[4] = kind;
    memcpy(head + 5, &inode, 8);
    memcpy(head + 13, &number, 8);
    memcpy(head + 21, &path_size, 2);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)path, path_size}, {(void *)data, size}};
    ssize_t (*real_writev)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    if (real_writev(output(), parts, size ? 3 : 2) != (ssize_t)(sizeof head + path_size + size)) abort();
}

static void impossible(int fd, const char *what) {
    char path[4096];
    uint64_t inode;
    const char *name = within(fd, path, &inode);
    if (name) record('X', inode, 0, name, what, strlen(what));
}

/* ---- writing */

static ssize_t wrote(int fd, const void *data, ssize_t done, int64_t offset) {
    char path[4096];
    uint64_t inode;
    const char *name = done > 0 ? within(fd, path, &inode) : NULL;
    if (name) {
        if (offset < 0) offset = lseek64(fd, 0, SEEK_CUR) - done;  /* also right for O_APPEND */
        record('W', inode, offset, name, data, (size_t)done);
    }
    return done;
}

#define IN_TURN(type, call) \
    if (!recording()) return call; \
    int saved; \
    pthread_mutex_lock(&turn); \
    type done = call; \
    saved = errno

#define OUT_OF_TURN \
    pthread_mutex_unlock(&turn); \
    errno = saved; \
    return done

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    char path[4096];
    uint64_t inode;
    if (!recording() || !within(fd, path, &inode)) return real(fd, data, size);  /* a pipe may block: not in turn */
    IN_TURN(ssize_t, real(fd, data, size));
    wrote(fd, data, done, -1);
    OUT_OF_TURN;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    IN_TURN(ssize_t, real(fd, data, size, offset));
    wrote(fd, data, done, offset);
    OUT_OF_TURN;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (recording()) impossible(fd, "writev");
    return real(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev);
    if (recording()) impossible(fd, "pwritev");
    return real(fd, parts, count, offset);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
    ssize_t (*real)(int, int, off64_t *, size_t) = dlsym(RTLD_NEXT, "sendfile64");
    if (recording()) impossible(to, "sendfile");
    return real(to, from, offset, size);
}

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    REAL(copy_file_range);
    if (recording()) impossible(to, "copy_file_range");
    return real(from, a, to, b, size, flags);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    REAL(posix_fallocate64);
    if (recording()) impossible(fd, "posix_fallocate");
    return real(fd, offset, size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    char path[4096];
    uint64_t inode;
    IN_TURN(int, real(fd, size));
    const char *name = done == 0 ? within(fd, path, &inode) : NULL;
    if (name) record('T', inode, size, name, NULL, 0);
    OUT_OF_TURN;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* ---- syncing: not in turn, since others may write meanwhile */

static int synced(int fd, int (*real)(int)) {
    char path[4096];
    uint64_t inode;
    pthread_mutex_lock(&turn);
    const char *name = within(fd, path, &inode);
    if (name) record('B', inode, 0, name, NULL, 0);
    pthread_mutex_unlock(&turn);
    int done = real(fd);
    int saved = errno;
    if (name && done == 0) {
        pthread_mutex_lock(&turn);
        record('S', inode, 0, name, NULL, 0);
        pthread_mutex_unlock(&turn);
    }
    errno = saved;
    return done;
}

int fsync(int fd) {
    REAL(fsync);
    return recording() ? synced(fd, real) : real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return recording() ? synced(fd, real) : real(fd);
}

/* ---- names */

static int opened(int at, const char *name, int flags, mode_t mode) {
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat64");
    char path[4096];
    struct stat seen;
    const char *inside = (flags & (O_CREAT | O_TRUNC)) && !(flags & O_DIRECTORY) ? within_at(at, name, path) : NULL;
    if (!inside) return real(at, name, flags, mode);
    pthread_mutex_lock(&turn);
    int was_there = fstatat(at, name, &seen, AT_SYMLINK_NOFOLLOW) == 0;
    int done = real(at, name, flags, mode);
    int saved = errno;
    if (done >= 0 && fstat(done, &seen) == 0 && S_ISREG(seen.st_mode)) {
        if (!was_there) record('C', seen.st_ino, 0, inside, NULL, 0);
        else if (flags & O_TRUNC) record('T', seen.st_ino, 0, inside, NULL, 0);
    }
    pthread_mutex_unlock(&turn);
    errno = saved;
    return done;
}

#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE return opened(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE return opened(at, name, flags, mode); }

static int named(char kind, int at, const char *name, int to, const char *other, int done) {
    char path[4096], second[4096];
    int saved = errno;
    const char *inside = done == 0 ? within_at(at, name, path) : NULL;
    const char *target = other ? within_at(to, other, second) : NULL;
    struct stat seen = {0};
    if (inside && kind == 'D') fstatat(at, name, &seen, AT_SYMLINK_NOFOLLOW);
    if (inside && (target || !other)) record(kind, seen.st_ino, 0, inside, target, target ? strlen(target) : 0);
    else if (inside || target) {
        if (done == 0) record('X', 0, 0, inside ? inside : target, "across", 6);
    }
    errno = saved;
    return done;
}

#define NAMED(kind, call, at, name, to, other) \
    if (!recording()) return call; \
    pthread_mutex_lock(&turn); \
    int done = named(kind, at, name, to, other, call); \
    pthread_mutex_unlock(&turn); \
    return done

int unlink(const char *name) { REAL(unlink); NAMED('U', real(name), AT_FDCWD, name, 0, NULL); }
int unlinkat(int at, const char *name, int flags) {
    REAL(unlinkat);
    NAMED(flags & AT_REMOVEDIR ? 'K' : 'U', real(at, name, flags), at, name, 0, NULL);
}
int rmdir(const char *name) { REAL(rmdir); NAMED('K', real(name), AT_FDCWD, name, 0, NULL); }
int mkdir(const char *name, mode_t mode) { REAL(mkdir); NAMED('D', real(name, mode), AT_FDCWD, name, 0, NULL); }
int mkdirat(int at, const char *name, mode_t mode) {
    REAL(mkdirat);
    NAMED('D', real(at, name, mode), at, name, 0, NULL);
}
int rename(const char *name, const char *other) {
    REAL(rename);
    NAMED('R', real(name, other), AT_FDCWD, name, AT_FDCWD, other);
}
int renameat(int at, const char *name, int to, const char *other) {
    REAL(renameat);
    NAMED('R', real(at, name, to, other), at, name, to, other);
}
int link(const char *name, const char *other) {
    REAL(link);
    NAMED('L', real(name, other), AT_FDCWD, name, AT_FDCWD, other);
}
int linkat(int at, const char *name, int to, const char *other, int flags) {
    REAL(linkat);
    NAMED('L', real(at, name, to, other, flags), at, name, to, other);
}
