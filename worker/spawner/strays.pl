# What has left its task's process group, found without control groups.
use strict;
use warnings;

our (%pids, %removals, $self, $subreaper);

# Kills the children we did not start: orphans that the task left behind, known by the environment they inherited.
sub end_strays {
    my ($task) = @_;
    my $count = 0;
    for my $pid (orphans()) {
        next unless environment_of($pid, $task->{user}) =~ m{(?:^|\0)SLUICE_WORK_DIR=\Q$task->{folder}\E\0};
        $count++;
        kill 'KILL', $pid;
    }
    return $count;
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
