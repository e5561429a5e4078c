/* SPDX-License-Identifier: Apache-2.0 */
/* Each test in a process of its own, since what is dropped does not come back. */
#include "base/log.h"
#include "gateway/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY   "nobody"
#define STRANGER "no-such-user-here"

/* The child's own answer: does `check` hold there? */
static bool holds_in_a_child(bool (*check)(void)) {
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
        _exit(check() ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 0;
}

static void need_root(void) {
    if (geteuid() != 0 || !getpwnam(NOBODY))
        skip();
}

static bool leaves_no_core(void) {
    struct rlimit core;
    return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0 &&
           prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
}

static bool lock_keeps(void) {
    privileges_lock();
    return leaves_no_core() && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static bool drop_keeps(void) {
    privileges_lock();
    return privileges_drop(NOBODY, NULL) == 0 && leaves_no_core();
}

static bool drop_changes_every_id(void) {
    const struct passwd *pw = getpwnam(NOBODY);
    uid_t uid = pw->pw_uid, ids[3] = {0};
    gid_t gid = pw->pw_gid, groups[3] = {0}, more[64];
    const gid_t roots[] = {0};
    if (setgroups(1, roots) != 0 || privileges_drop(NOBODY, NULL) != 0 || getresuid(&ids[0], &ids[1], &ids[2]) != 0 ||
        getresgid(&groups[0], &groups[1], &groups[2]) != 0)
        return false;
    int count = getgroups(64, more);
    for (int i = 0; i < count; i++)
        if (more[i] == 0)
            return false;
    for (int i = 0; i < 3; i++)
        if (ids[i] != uid || groups[i] != gid)
            return false;
    return count >= 0;
}

static bool root_does_not_come_back(void) {
    return privileges_drop(NOBODY, NULL) == 0 && setuid(0) != 0 && seteuid(0) != 0 && setgid(0) != 0;
}

static bool a_capability_is_gone(void) {
    return privileges_drop(NOBODY, NULL) == 0 && access("/etc/shadow", W_OK) != 0 && chroot("/") != 0;
}

static bool a_stranger_is_refused(void) {
    struct err_text et = {""};
    return privileges_drop(STRANGER, &et) == E_NOTFOUND && strstr(et.s, "\"" STRANGER "\"") && geteuid() == 0;
}

static bool another_user_is_refused(void) {
    struct err_text et = {""};
    const struct passwd *pw = getpwnam(NOBODY);
    return setuid(pw->pw_uid) == 0 && privileges_drop("root", &et) == E_DENIED &&
           strstr(et.s, "only root can become \"root\"");
}

static bool the_same_user_is_no_change(void) {
    const struct passwd *pw = getpwnam(NOBODY);
    uid_t uid = pw->pw_uid;
    return setuid(uid) == 0 && privileges_drop(NOBODY, NULL) == 0 && geteuid() == uid;
}

static bool no_user_stays(void) {
    uid_t before = geteuid();
    return privileges_drop("", NULL) == 0 && geteuid() == before;
}

static void a_locked_process_leaves_no_core_and_gains_nothing(void **state) {
    (void)state;
    assert_true(holds_in_a_child(lock_keeps));
}

static void the_lock_outlasts_the_change_of_user(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(drop_keeps));
}

static void user_and_groups_are_all_the_new_ones(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(drop_changes_every_id));
}

static void root_is_given_up_for_good(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(root_does_not_come_back));
}

static void no_capability_is_left(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(a_capability_is_gone));
}

static void an_unknown_user_is_named(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(a_stranger_is_refused));
}

static void only_root_can_become_another(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(another_user_is_refused));
}

static void to_be_the_user_already_is_right(void **state) {
    (void)state;
    need_root();
    assert_true(holds_in_a_child(the_same_user_is_no_change));
}

static void without_a_user_it_stays_who_it_is(void **state) {
    (void)state;
    assert_true(holds_in_a_child(no_user_stays));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_locked_process_leaves_no_core_and_gains_nothing),
        cmocka_unit_test(the_lock_outlasts_the_change_of_user),
        cmocka_unit_test(user_and_groups_are_all_the_new_ones),
        cmocka_unit_test(root_is_given_up_for_good),
        cmocka_unit_test(no_capability_is_left),
        cmocka_unit_test(an_unknown_user_is_named),
        cmocka_unit_test(only_root_can_become_another),
        cmocka_unit_test(to_be_the_user_already_is_right),
        cmocka_unit_test(without_a_user_it_stays_who_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
