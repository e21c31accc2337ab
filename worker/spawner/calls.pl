# Calls of Linux by their numbers: Perl has no words for some of them, and its words for others do more than is needed.
# `POSIX` would have words for many, and would be more than half of the memory that each start of a task copies.
use strict;
use warnings;

BEGIN {
    my %NUMBERS = (
        #                 x64  arm64
        openat         => [257, 56],
        close          => [3,   57],
        read           => [0,   63],
        write          => [1,   64],
        dup3           => [292, 24],
        pipe2          => [293, 59],
        fchown         => [93,  55],
        setsid         => [112, 157],
        setgroups      => [116, 159],
        setresgid      => [119, 149],
        setresuid      => [117, 147],
        prctl          => [157, 167],
        rt_sigprocmask => [14,  135],
        signalfd4      => [289, 74],
        clock_gettime  => [228, 113],
        wait4          => [61,  260],
        execve         => [59,  221],
        exit_group     => [231, 94],
        close_range    => [436, 436],
        unshare        => [272, 97],
    );
    die "main.pl: this Perl is not one of 64 bits\n" if length(pack 'P', '') != 8;
    my $at = {x64 => 0, arm64 => 1}->{$ARGV[0] // ''} // die "main.pl: the calls of this machine are not known\n";
    no strict 'refs';
    for my $name (keys %NUMBERS) {
        my $number = $NUMBERS{$name}[$at];
        *{"SYS_$name"} = sub () { $number };
    }
    my $nofollow = (0x20000, 0x8000)[$at];
    *O_NOFOLLOW = sub () { $nofollow };
}

sub O_WRONLY () { 1 }
sub O_CREAT ()  { 0x40 }
sub O_EXCL ()   { 0x80 }
sub O_NONBLOCK () { 0x800 }
sub O_CLOEXEC ()  { 0x80000 }
sub AT_FDCWD ()   { -100 }
sub WNOHANG ()    { 1 }
sub ENOENT () { 2 }
sub EINTR ()  { 4 }
sub EAGAIN () { 11 }
sub ELOOP ()  { 40 }

my $now = "\0" x 16;

# Seconds of a clock that nobody sets.
sub seconds {
    syscall SYS_clock_gettime, 1, $now;
    my ($seconds, $nanoseconds) = unpack 'q2', $now;
    return $seconds + $nanoseconds / 1e9;
}

# The system's own name of what went wrong. Few tasks need it, so the names are read when one does.
sub trouble {
    my ($what) = @_;
    my $number = $! + 0;
    my ($name) = eval { require Errno; grep { Errno->can($_)->() == $number } sort @Errno::EXPORT_OK };
    return "$what " . ($name // 'EIO');
}

1;
