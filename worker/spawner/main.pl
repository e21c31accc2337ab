# The worker's spawner where there is a Perl: it forks from a few megabytes, and so costs less than a Node process
# does. main.ts does the same where there is none; protocol.ts says what both of them speak. Beside that one it knows
# what a process used, and finds what left its group without the help of control groups.
use strict;
use warnings;
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use File::Basename qw(dirname);
use POSIX ();

our (%tasks, %pids, %removals, $error_end, $calls, $self, $subreaper);
require(dirname(__FILE__) . "/$_.pl") for 'become', 'folder', 'strays';

# Perl has no words for these calls of Linux, only their numbers.
my %NUMBERS = (x86_64 => {wait4 => 61, prctl => 157}, aarch64 => {wait4 => 260, prctl => 167});
my ($system, $machine) = (POSIX::uname())[0, 4];
$calls = $system eq 'Linux' && length(pack 'P', '') == 8 ? $NUMBERS{$machine} : undef;
my $PR_SET_CHILD_SUBREAPER = 36;
# What tasks orphan becomes a child of this process instead of init's, and is found and collected here.
$subreaper = $calls && syscall($calls->{prctl}, $PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;

my $PIECE = 65_536;
# How late an end is seen where no file tells of it: a signal that comes just before `select` waits does not wake it.
my $TICK_S = 0.02;
my $DYING_TICKS = 250;
# Of all Linux systems, since 5.3.
my $PIDFD_OPEN = 434;
# What left the group may keep the pipes open; the attempt does not wait for it longer.
my $STRAY_TICKS = POSIX::sysconf(POSIX::_SC_CLK_TCK());

my (%watched, %guarded, %sources, %start_errors);
my ($in, $out, $wanted) = ('', '', '');
$self = $$;

# Handlers and not IGNORE, which the tasks would inherit. When to stop is the worker's decision.
$SIG{$_} = sub { } for qw(INT TERM HUP PIPE);
fcntl STDOUT, F_SETFL, fcntl(STDOUT, F_GETFL, 0) | O_NONBLOCK;
# Where a child says that it could not become its task; closed by a successful exec.
pipe(my $errors, $error_end) or die "pipe: $!";
fcntl $errors, F_SETFL, fcntl($errors, F_GETFL, 0) | O_NONBLOCK;
vec($wanted, 0, 1) = 1;

while (1) {
    flush_out();
    my ($readable, $writable) = ($wanted, length $out ? "\2" : '');
    my $busy = keys %watched < keys %pids || %removals || grep { $_->{exit} } values %tasks;
    my $found = select $readable, $writable, undef, $busy ? $TICK_S : undef;
    if ($found > 0) {
        read_commands() if vec $readable, 0, 1;
        my @ready = grep { vec $readable, $_, 1 } keys %sources;
        # Between the two outputs there is no order; what is printed before a mistake mostly comes first.
        forward($_) for sort { $sources{$b}{letter} cmp $sources{$a}{letter} } @ready;
    }
    reap();
    finish($_) for grep { $tasks{$_}{exit} } keys %tasks;
}

sub send_frame {
    my ($letter, $id, $payload) = @_;
    $out .= pack 'N a N a*', 5 + length $payload, $letter, $id, $payload;
}

sub flush_out {
    return unless length $out;
    my $written = syswrite STDOUT, $out;
    substr($out, 0, $written) = '' if $written;
}

sub read_commands {
    my $read = sysread STDIN, $in, $PIECE, length $in;
    end_everything() if defined $read ? $read == 0 : !($!{EINTR} || $!{EAGAIN});
    while (length $in >= 9) {
        my ($length, $letter, $id) = unpack 'N a N', $in;
        last if length $in < 4 + $length;
        my $payload = substr $in, 9, $length - 5;
        substr($in, 0, 4 + $length) = '';
        if    ($letter eq 'R') { start($id, $payload) }
        elsif ($letter eq 'K') { stop($id, $payload) }
        elsif ($letter eq 'M') { read_on($id, $payload) }
        elsif ($letter eq 'C') { collect($id, unpack '(N/a)*', $payload) }
        elsif ($letter eq 'G') { $guarded{$id} = 1 }
        elsif ($letter eq 'U') { delete $guarded{$id} }
    }
}

# A child that has no session of its own yet has nobody beside itself in it.
sub stop {
    my ($id, $signal) = @_;
    my $pid = $tasks{$id} && $tasks{$id}{pid} or return;
    kill $signal, -$pid or kill $signal, $pid;
}

sub start {
    my ($id, $payload) = @_;
    my ($file, $folder, $cwd, $uid, $gid, @lists) = unpack '(N/a)*', $payload;
    my ($args, $env, $files, $procs) = map { [unpack '(N/a)*', $_] } @lists;
    my $task = $tasks{$id} = {folder => $folder, cwd => $cwd, procs => $procs, sources => 0};
    $task->{user} = [$uid, $gid] if length $uid;
    my $wrong = make_folder($task, @$files);
    return refuse($id, $wrong) if defined $wrong;
    my %ends;
    for my $letter ('o', 'e') {
        pipe(my $reader, my $writer) or return refuse($id, trouble("pipe"));
        # So that the task may open /dev/stdout and /dev/stderr.
        chown @{$task->{user}}, $writer if $task->{user};
        $ends{$letter} = [$reader, $writer];
    }
    # Until it is the task, the child has this program's handlers, which would swallow a signal to end.
    my ($term, $before) = (POSIX::SigSet->new(POSIX::SIGTERM()), POSIX::SigSet->new);
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $term, $before);
    my $pid = fork;
    my $failed = defined $pid ? undef : trouble("fork");
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), $before) unless defined $pid && $pid == 0;
    return refuse($id, $failed) unless defined $pid;
    become_task($task, $file, $args, $env, map { $ends{$_}[1] } 'o', 'e') if $pid == 0;
    $task->{pid} = $pid;
    $pids{$pid} = $id;
    watch($pid);
    for my $letter ('o', 'e') {
        my $fd = fileno $ends{$letter}[0];
        $sources{$fd} = {handle => $ends{$letter}[0], id => $id, letter => $letter, late => 0};
        $task->{$letter} = $fd;
        $task->{sources}++;
        vec($wanted, $fd, 1) = 1;
    }
    send_frame('s', $id, pack '(N/a)*', $pid);
}

# Its end wakes `select`, in whichever moment it comes.
sub watch {
    my ($pid) = @_;
    my $fd = $system eq 'Linux' ? syscall $PIDFD_OPEN, $pid, 0 : -1;
    return $SIG{CHLD} = sub { } if $fd < 0;
    $watched{$pid} = $fd;
    vec($wanted, $fd, 1) = 1;
}

sub unwatch {
    my $fd = delete $watched{$_[0]} // return;
    vec($wanted, $fd, 1) = 0;
    POSIX::close($fd);
}

# What could not be started has no process, and nothing of it is left to end.
sub refuse {
    my ($id, $error) = @_;
    send_frame('x', $id, pack '(N/a)*', '', '', $error, '', '');
}

sub forward {
    my ($fd) = @_;
    my $source = $sources{$fd} or return;
    my $read = sysread $source->{handle}, my ($bytes), $PIECE;
    return if !defined $read && ($!{EINTR} || $!{EAGAIN});
    return close_source($fd) unless $read;
    # Reads on only when the worker asks for more: a flood of output waits in the pipe.
    vec($wanted, $fd, 1) = 0;
    $source->{paused} = 1;
    $source->{late} += $read if $tasks{$source->{id}}{ended};
    send_frame($source->{letter}, $source->{id}, $bytes);
}

sub read_on {
    my ($id, $letter) = @_;
    my $fd = $tasks{$id} && $tasks{$id}{$letter} // return;
    delete $sources{$fd}{paused};
    vec($wanted, $fd, 1) = 1;
}

sub close_source {
    my ($fd) = @_;
    my $source = delete $sources{$fd} or return;
    vec($wanted, $fd, 1) = 0;
    my $task = $tasks{$source->{id}};
    delete $task->{$source->{letter}};
    $task->{sources}--;
    close $source->{handle};
}

# Collects what has ended: (pid, status, CPU milliseconds, peak KiB), the last two where the system tells.
sub next_ended {
    return do { my $pid = waitpid -1, POSIX::WNOHANG(); ($pid, $?, '', '') } unless $calls;
    my ($status, $usage) = (pack('i', 0), "\0" x 144);
    my $pid = syscall $calls->{wait4}, -1, $status, POSIX::WNOHANG(), $usage;
    return ($pid) if $pid <= 0;
    my ($user_s, $user_us, $system_s, $system_us, $peak) = unpack 'q5', $usage;
    my $cpu = sprintf '%.0f', ($user_s + $system_s) * 1000 + ($user_us + $system_us) / 1000;
    return ($pid, unpack('i', $status), $cpu, $peak);
}

sub reap {
    while (%pids || %removals) {
        my ($pid, $status, $cpu, $peak) = next_ended();
        last if $pid <= 0;
        unwatch($pid);
        remove_rest($pid) if $removals{$pid};
        my $id = delete $pids{$pid} // next;
        read_start_errors();
        my $task = $tasks{$id};
        # What the command left behind in its group ends with it.
        kill 'KILL', -$pid;
        $task->{group} = delete $task->{pid};
        $task->{ended} = (POSIX::times())[0] || 1;
        my ($code, $signal) = $status & 127 ? ('', $status & 127) : ($status >> 8, '');
        my $error = delete $start_errors{$pid};
        $task->{exit} = defined $error ? ['', '', $error, '', ''] : [$code, $signal, '', $cpu, $peak];
        send_frame('l', $id, '');
    }
}

# A child writes its line before it exits, so the line is here when its end is seen.
sub read_start_errors {
    sysread $errors, my ($text), $PIECE or return;
    for my $line (split /\n/, $text) {
        my ($pid, $error) = split / /, $line, 2;
        $start_errors{$pid} = $error;
    }
}

# Tells the exit of a task that has ended, when all of its output is told and nothing of it is found alive.
sub finish {
    my $task = $tasks{$_[0]};
    my $ticks = (POSIX::times())[0] - $task->{ended};
    # The pipes mostly close with the process; only who keeps them open is looked for before.
    return if $task->{sources} && $ticks == 0;
    my $late = $ticks >= $STRAY_TICKS;
    # A member of the group that is slow to die may still have children.
    my $strays = @{$task->{procs}} ? 0 : end_strays($task) || kill 0, -$task->{group};
    close_late($task) if $late && $task->{sources};
    return if $task->{sources} || ($strays && !$late);
    send_frame('x', $_[0], pack '(N/a)*', @{delete $task->{exit}});
}

# A pipe holds no more than this of what the task itself wrote, and what comes then is of others.
sub close_late {
    my ($task) = @_;
    for my $letter ('o', 'e') {
        my $fd = $task->{$letter} // next;
        next if $sources{$fd}{paused};
        vec(my $readable = '', $fd, 1) = 1;
        close_source($fd) if $sources{$fd}{late} >= $PIECE || !select $readable, undef, undef, 0;
    }
}

# The worker is gone, however it went.
sub end_everything {
    kill 'KILL', -$_ for keys %pids, keys %guarded;
    for my $task (values %tasks) { end_group($task->{procs}[0]) if @{$task->{procs}} }
    # One that is slow to die keeps its children for so long, and they are found only when they are this program's.
    for (1 .. $DYING_TICKS) {
        my $pid;
        1 while ($pid = waitpid -1, POSIX::WNOHANG()) > 0;
        last if $pid < 0;
        kill 'KILL', orphans();
        select undef, undef, undef, $TICK_S;
    }
    exit 0;
}

sub end_group {
    my ($procs) = @_;
    for (1 .. 10) {
        open my $group, '<', $procs or return;
        # A process in a namespace that we do not see is a 0, and a signal to 0 would be one to us.
        my @left = grep { $_ > 0 } map { int } <$group> or return;
        kill 'KILL', @left;
    }
}
