# What has left its task's process group, found without control groups.
use strict;
use warnings;

our (%pids, %removals, $self, $subreaper, $of_guest);

# Kills the children we did not start: orphans that the task left behind, known by the environment they inherited. Those of
# a guest's spawner are all of its guest.
sub end_strays {
    my ($task) = @_;
    my $count = 0;
    for my $pid (orphans()) {
        next unless $of_guest || environment_of($pid, $task->{user}) =~ m{(?:^|\0)SLUICE_WORK_DIR=\Q$task->{folder}\E\0};
        $count++;
        kill 'KILL', $pid;
    }
    return $count;
}

# Kills all that runs as the task's user, when no other task does: also what hid its environment. One signal reaches all that
# there are, and whoever is about to fork. Its result says nothing: it is the same when there is nobody.
sub end_user {
    my ($task) = @_;
    return unless $task->{alone};
    my $pid = fork // return;
    if ($pid == 0) {
        become_user(@{$task->{user}});
        kill 'KILL', -1;
        syscall SYS_exit_group, 0;
    }
    waitpid $pid, 0;
}

# Read as the task's user: root in a container may often not look into processes of others.
sub environment_of {
    my ($pid, $user) = @_;
    my ($uid, $groups) = ($>, $));
    if ($user) {
        $) = "$user->[1] $user->[1]";
        $> = $user->[0];
    }
    my $environment = '';
    if (open my $file, '<', "/proc/$pid/environ") {
        local $/;
        $environment = <$file> // '';
    }
    if ($user) {
        $> = $uid;
        $) = $groups;
    }
    return $environment;
}

sub orphans {
    return unless $subreaper && open my $file, '<', "/proc/self/task/$self/children";
    return grep { !$pids{$_} && !$removals{$_} } split ' ', <$file> // '';
}

1;
