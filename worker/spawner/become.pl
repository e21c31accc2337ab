# How a forked child of the spawner becomes the task that it was made for. Each thing that it touches is a page of memory
# to be copied, so what can be made ready is ready before the fork.
use strict;
use warnings;

our ($error_end, $self);
my $CLONE_NEWIPC = 0x08000000;
my ($PR_SET_PDEATHSIG, $PR_SET_NO_NEW_PRIVS, $SIGKILL, $SIG_SETMASK) = (1, 38, 9, 2);
# What a call is given must be a variable.
my ($ITSELF, $NULL, $NO_SIGNALS) = ('0', '/dev/null', "\0" x 8);

# The arguments and variables as a process is given them, and where its program may be, as `execvp` looks for it. Points
# into what it is given, which must live as long.
sub program_of {
    my ($file, $args, $env) = @_;
    my ($path) = map { /^PATH=(.*)/s } @$env;
    my @places = $file =~ m{/} ? ($file) : map { length ? "$_/$file" : $file } split /:/, $path // '/bin:/usr/bin', -1;
    return {file => $file, places => \@places, argv => pack('p*', $file, @$args, undef), envp => pack('p*', @$env, undef)};
}

# Never returns: it is the task now, or has told why it cannot be.
sub become_task {
    my ($task, $program, $stdout, $stderr) = @_;
    syscall SYS_setsid;
    # What a task has of System V (shared memory, semaphores) would stay behind it, until a machine has none left for others, its
    # Postgres among them. Only who may administer the machine can do this; a container has its own anyway.
    syscall SYS_unshare, $CLONE_NEWIPC;
    for my $procs (@{$task->{procs}}) {
        my $group = syscall SYS_openat, AT_FDCWD, $procs, O_WRONLY;
        give_up("open $procs") if $group < 0;
        give_up("write $procs") if syscall(SYS_write, $group, $ITSELF, 1) != 1;
        syscall SYS_close, $group;
    }
    syscall SYS_close, 0;
    give_up('open /dev/null') if syscall(SYS_openat, AT_FDCWD, $NULL, 0) != 0;
    give_up('dup3') if syscall(SYS_dup3, $stdout, 1, 0) != 1 || syscall(SYS_dup3, $stderr, 2, 0) != 2;
    become_user(@{$task->{user}}) if $task->{user};
    syscall SYS_prctl, $PR_SET_PDEATHSIG, $SIGKILL, 0, 0, 0;
    # A program that its file makes root or a group (`sudo`) stays what the task is.
    syscall SYS_prctl, $PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0;
    syscall SYS_exit_group, 127 if getppid != $self;
    chdir $task->{folder} or give_up("chdir $task->{folder}");
    enter($task->{cwd}) if length $task->{cwd};
    # A signal to end that came meanwhile ends it here: this program has no handler that would swallow it.
    syscall SYS_rt_sigprocmask, $SIG_SETMASK, $NO_SIGNALS, 0, 8;
    syscall SYS_execve, $_, $program->{argv}, $program->{envp} for @{$program->{places}};
    give_up("spawn $program->{file}");
}

# A folder below the task's own is made; any other must be there.
sub enter {
    my ($cwd) = @_;
    my $made = '';
    if ($cwd !~ m{^/}) { mkdir($made .= "$_/") for split m{/}, $cwd }
    chdir $cwd or give_up("chdir $cwd");
}

# None of the groups that this program is in may be left.
sub become_user {
    my ($uid, $gid) = @_;
    my $groups = pack 'I', $gid;
    give_up("setuid $uid")
        if syscall(SYS_setgroups, 1, $groups)
        || syscall(SYS_setresgid, $gid, $gid, $gid)
        || syscall(SYS_setresuid, $uid, $uid, $uid);
}

sub give_up {
    # What it names is the task's to choose, and a line is a message.
    syswrite $error_end, "$$ " . trouble($_[0]) =~ tr/\n/ /r . "\n";
    syscall SYS_exit_group, 127;
}

1;
