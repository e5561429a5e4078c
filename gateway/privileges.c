/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/privileges.h"

#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* glibc changes the identity of all threads at once, and the kernel takes root's capabilities with it. */
static int become(const char *user, struct err_text *et) {
    const struct passwd *pw = getpwnam(user);
    if (!pw)
        return err_say(et, E_NOTFOUND, "user: there is no user \"%s\" on this machine", user);
    if (initgroups(user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
        return err_say(et, E_DENIED, "user: cannot become \"%s\": %s", user, strerror(errno));
    if (pw->pw_uid != 0 && setuid(0) == 0)
        return err_say(et, E_DENIED, "user: \"%s\" can become root again", user);
    return 0;
}

void privileges_lock(void) {
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int privileges_drop(const char *user, struct err_text *et) {
    if (*user && geteuid() == 0) {
        int err = become(user, et);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* the kernel has set it to fs.suid_dumpable meanwhile */
        return err;
    }
    if (*user) {
        const struct passwd *pw = getpwuid(geteuid());
        if (!pw || strcmp(pw->pw_name, user) != 0)
            return err_say(et, E_DENIED, "user: only root can become \"%s\"; start as root or as that user", user);
    }
    if (geteuid() == 0)
        log_warn("running as root", log_s("mend", "set user: in the configuration, or start as another user"));
    return 0;
}
