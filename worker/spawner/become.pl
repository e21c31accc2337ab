# How a forked child of the spawner becomes the task that it was made for.
use strict;
use warnings;
use POSIX ();

our ($error_end, $calls, $self);
my ($PR_SET_PDEATHSIG, $SIGKILL) = (1, 9);

# Never returns: it is the task now, or has told why it cannot be.
sub become_task {
    my ($task, $file, $args, $env, $stdout, $stderr) = @_;
    POSIX::setsid();
    for my $procs (@{$task->{procs}}) {
        open my $group, '>', $procs or give_up("open $procs");
        defined syswrite $group, '0' or give_up("write $procs");
    }
    open STDIN, '<', '/dev/null' or give_up('open /dev/null');
    POSIX::dup2(fileno $stdout, 1);
    POSIX::dup2(fileno $stderr, 2);
    become_user(@{$task->{user}}) if $task->{user};
    syscall $calls->{prctl}, $PR_SET_PDEATHSIG, $SIGKILL, 0, 0, 0 if $calls;
    POSIX::_exit(127) if getppid != $self;
    chdir $task->{folder} or give_up("chdir $task->{folder}");
    enter($task->{cwd}) if length $task->{cwd};
    $SIG{TERM} = 'DEFAULT';
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
    %ENV = @$env;
    no warnings 'exec';
    exec {$file} $file, @$args;
    give_up("spawn $file");
}

# A folder below the task's own is made; any other must be there.
sub enter {
    my ($cwd) = @_;
    my $made = '';
    if ($cwd !~ m{^/}) { mkdir($made .= "$_/") for split m{/}, $cwd }
    chdir $cwd or give_up("chdir $cwd");
}

sub become_user {
    my ($uid, $gid) = @_;
    $) = "$gid $gid";
    POSIX::setgid($gid);
    POSIX::setuid($uid);
    # None of the groups that this program is in may be left.
    my $is_group = $( eq "$gid $gid" && $) eq "$gid $gid";
    give_up("setuid $uid") unless $< == $uid && $> == $uid && $is_group;
}

sub give_up {
    # What it names is the task's to choose, and a line is a message.
    syswrite $error_end, "$$ " . trouble($_[0]) =~ tr/\n/ /r . "\n";
    POSIX::_exit(127);
}

# The system's own name of what went wrong.
sub trouble {
    my ($what) = @_;
    my ($name) = grep { $!{$_} } sort keys %!;
    return "$what " . ($name // 'EIO');
}

1;
