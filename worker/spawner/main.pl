# The worker's spawner where there is a Perl, on Linux: it forks from a few megabytes, and so costs less than a Node process
# does. main.ts does the same where there is none; protocol.ts says what both of them speak. Beside that one it knows
# what a process used, and finds what left its group without the help of control groups. `main.pl ARCHITECTURE [guest]`:
# the spawner of a guest has one task, which inherits the pipes 3 and 4 to the process that it is a guest of.
use strict;
use warnings;

our (%tasks, %pids, %removals, $error_end, $self, $subreaper, $of_guest);
BEGIN { require(__FILE__ =~ s{[^/]*\z}{}r . "$_.pl") for 'calls', 'become', 'folder', 'strays' }

$of_guest = ($ARGV[1] // '') eq 'guest';
# What else was open where this program was started is no task's to have. Not before Linux 5.11.
my ($CLOSE_RANGE_CLOEXEC, $LAST_FD) = (4, 0xffffffff);
syscall SYS_close_range, $of_guest ? 5 : 3, $LAST_FD, $CLOSE_RANGE_CLOEXEC;

my $PR_SET_CHILD_SUBREAPER = 36;
# What tasks orphan becomes a child of this process instead of init's, and is found and collected here.
$subreaper = syscall(SYS_prctl, $PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;

my $PIECE = 65_536;
# How often what is left of a task is looked at.
my $TICK_S = 0.02;
my $DYING_TICKS = 250;
# What left the group may keep the pipes open; the attempt does not wait for it longer.
my $STRAY_S = 1;
# A process that hangs in a device may never be gone from its control group.
my $GONE_WITHIN_S = 5;

my (%sources, %start_errors, %ending);
my ($in, $out, $wanted) = ('', '', '');
# What calls write to.
my ($piece, $status, $usage, $ends) = ("\0" x $PIECE, "\0" x 4, "\0" x 144, "\0" x 8);
$self = $$;

# Blocked and neither handled nor ignored: a task has them as they were, from its first moment on. When to stop is the
# worker's decision. Perl ignores FPE, and the task would inherit it.
my $blocked = pack 'Q', 1 << 0 | 1 << 1 | 1 << 12 | 1 << 14 | 1 << 16;
syscall SYS_rt_sigprocmask, 0, $blocked, 0, 8;
$SIG{$_} = 'DEFAULT' for qw(HUP INT PIPE TERM CHLD);
$SIG{FPE} = sub { };
# Ends of children wake `select`, in whichever moment they come.
my $child_ends = pack 'Q', 1 << 16;
my $ended = syscall SYS_signalfd4, -1, $child_ends, 8, O_NONBLOCK | O_CLOEXEC;
die "signalfd: $!" if $ended < 0;

my ($F_GETFL, $F_SETFL) = (3, 4);
fcntl STDOUT, $F_SETFL, fcntl(STDOUT, $F_GETFL, 0) | O_NONBLOCK;
# Where a child says that it could not become its task; closed by a successful exec.
pipe(my $errors, $error_end) or die "pipe: $!";
fcntl $errors, $F_SETFL, fcntl($errors, $F_GETFL, 0) | O_NONBLOCK;
vec($wanted, $_, 1) = 1 for 0, $ended;

while (1) {
    flush_out();
    my ($readable, $writable) = ($wanted, length $out ? "\2" : '');
    my $found = select $readable, $writable, undef, %ending ? $TICK_S : undef;
    if ($found > 0) {
        read_commands() if vec $readable, 0, 1;
        my @ready = grep { vec $readable, $_, 1 } keys %sources;
        # Between the two outputs there is no order; what is printed before a mistake mostly comes first.
        forward($_) for sort { $sources{$b}{letter} cmp $sources{$a}{letter} } @ready;
        reap() if vec $readable, $ended, 1;
    }
    finish($_) for keys %ending;
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
    end_everything() if defined $read ? $read == 0 : $! != EINTR && $! != EAGAIN;
    while (length $in >= 9) {
        my ($length, $letter, $id) = unpack 'N a N', $in;
        last if length $in < 4 + $length;
        my $payload = substr $in, 9, $length - 5;
        substr($in, 0, 4 + $length) = '';
        if    ($letter eq 'R') { start($id, $payload) }
        elsif ($letter eq 'K') { stop($id, $payload) }
        elsif ($letter eq 'M') { read_on($id, $payload) }
        elsif ($letter eq 'P') { send_frame('p', $id, '') }
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
    my ($file, $folder, $cwd, $uid, $gid, $alone, @lists) = unpack '(N/a)*', $payload;
    my ($args, $env, $files, $outputs, $procs) = map { [unpack '(N/a)*', $_] } @lists;
    my $task = $tasks{$id} = {folder => $folder, cwd => $cwd, outputs => $outputs, procs => $procs, sources => 0};
    $task->{user} = [$uid + 0, $gid + 0] if length $uid;
    $task->{alone} = length $alone;
    my $wrong = make_folder($task, @$files);
    return refuse($id, $wrong) if defined $wrong;
    my %pipes;
    for my $letter ('o', 'e') {
        $pipes{$letter} = open_pipe($task) // return refuse($id, trouble('pipe'), %pipes);
    }
    my $program = program_of($file, $args, $env);
    my $pid = fork // return refuse($id, trouble('fork'), %pipes);
    become_task($task, $program, $pipes{o}[1], $pipes{e}[1]) if $pid == 0;
    $task->{pid} = $pid;
    $pids{$pid} = $id;
    while (my ($letter, $pipe) = each %pipes) {
        my ($reader, $writer) = @$pipe;
        syscall SYS_close, $writer;
        $sources{$reader} = {id => $id, letter => $letter, late => 0};
        $task->{$letter} = $reader;
        $task->{sources}++;
        vec($wanted, $reader, 1) = 1;
    }
    # Its ends are the guest's alone: their closing tells that it is gone.
    if ($of_guest) { syscall SYS_close, $_ for 3, 4 }
    # Whatever becomes of this process, a control group knows what is to be ended.
    send_frame('s', $id, pack '(N/a)*', $pid) unless @$procs && !$of_guest;
}

sub open_pipe {
    my ($task) = @_;
    return undef if syscall(SYS_pipe2, $ends, O_CLOEXEC) != 0;
    my ($reader, $writer) = unpack 'i2', $ends;
    # So that the task may open /dev/stdout and /dev/stderr.
    syscall SYS_fchown, $writer, @{$task->{user}} if $task->{user};
    return [$reader, $writer];
}

# What could not be started has no process, and nothing of it is left to end.
sub refuse {
    my ($id, $error, %pipes) = @_;
    for my $pipe (values %pipes) { syscall SYS_close, $_ for @$pipe }
    $tasks{$id}{exit} = ['', '', $error, '', ''];
    tell_exit($id);
}

sub forward {
    my ($fd) = @_;
    my $source = $sources{$fd} or return;
    my $read = syscall SYS_read, $fd, $piece, $PIECE;
    return if $read < 0 && ($! == EINTR || $! == EAGAIN);
    return close_source($fd) if $read <= 0;
    # Reads on only when the worker asks for more: a flood of output waits in the pipe.
    vec($wanted, $fd, 1) = 0;
    $source->{paused} = 1;
    $source->{late} += $read if $tasks{$source->{id}}{exit};
    send_frame($source->{letter}, $source->{id}, substr $piece, 0, $read);
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
    syscall SYS_close, $fd;
}

sub reap {
    1 while syscall(SYS_read, $ended, $piece, $PIECE) > 0;
    while ((my $pid = syscall SYS_wait4, -1, $status, WNOHANG, $usage) > 0) {
        remove_rest($pid) if $removals{$pid};
        my $id = delete $pids{$pid} // next;
        # What the command left behind in its group ends with it.
        kill 'KILL', -$pid;
        my $task = $tasks{$id};
        $task->{group} = delete $task->{pid};
        $task->{exit} = exit_of($pid);
        $task->{since} = seconds();
        $ending{$id} = 1;
    }
}

# A code or a signal, or why it could not be started; CPU milliseconds and peak KiB.
sub exit_of {
    my ($pid) = @_;
    my $how = unpack 'i', $status;
    read_start_errors() if $how == 127 << 8;
    my $error = delete $start_errors{$pid};
    return ['', '', $error, '', ''] if defined $error;
    my ($user_s, $user_us, $system_s, $system_us, $peak) = unpack 'q5', $usage;
    my $cpu = sprintf '%.0f', ($user_s + $system_s) * 1000 + ($user_us + $system_us) / 1000;
    return [$how & 127 ? ('', $how & 127) : ($how >> 8, ''), '', $cpu, $peak];
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
    my ($id) = @_;
    my $task = $tasks{$id};
    my $waited = seconds() - $task->{since};
    # The pipes mostly close with the process; only who keeps them open is looked for before.
    return if $task->{sources} && $waited < $TICK_S;
    my $is_left = is_left($task);
    close_late($task) if $waited >= $STRAY_S && $task->{sources};
    my $patience = @{$task->{procs}} ? $GONE_WITHIN_S : $STRAY_S;
    return tell_exit($id) unless $task->{sources} || ($is_left && $waited < $patience);
    # The worker ends what is in the control group.
    send_frame('l', $id, '') unless $task->{is_told}++;
}

# Whether anything of the task lives; what was found without its control group has been killed.
sub is_left {
    my ($task) = @_;
    my ($procs) = @{$task->{procs}};
    # A member of the process group that is slow to die may still have children.
    end_user($task) unless defined $procs || $task->{is_user_ended}++;
    return end_strays($task) || kill 0, -$task->{group} unless defined $procs;
    my $group = syscall SYS_openat, AT_FDCWD, $procs, O_CLOEXEC;
    return '' if $group < 0;
    my $read = syscall SYS_read, $group, $piece, $PIECE;
    syscall SYS_close, $group;
    return $read > 0;
}

# A process that did not end well leaves no files.
sub tell_exit {
    my ($id) = @_;
    my $task = delete $tasks{$id};
    delete $ending{$id};
    my @files = $task->{exit}[0] eq '0' ? files_of($task) : ();
    send_frame('x', $id, pack '(N/a)*', @{$task->{exit}}, @files);
    remove($task);
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
    kill 'KILL', -$_ for keys %pids;
    for my $task (values %tasks) { end_group($task->{procs}[0]) if @{$task->{procs}} }
    # One that is slow to die keeps its children for so long, and they are found only when they are this program's.
    for (1 .. $DYING_TICKS) {
        my $pid;
        1 while ($pid = waitpid -1, WNOHANG) > 0;
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
