# What has left its task's process group, found without control groups.
use strict;
use warnings;

our (%pids, %removals, $self, $subreaper);

# Kills the children we did not start: orphans that `folder`'s task left behind, known by the environment they inherited.
sub end_strays {
    my ($folder) = @_;
    my $count = 0;
    for my $pid (orphans()) {
        open my $file, '<', "/proc/$pid/environ" or next;
        my $environment = do { local $/; <$file> } // '';
        next unless $environment =~ m{=\Q$folder\E[/\0]};
        $count++;
        kill 'KILL', $pid;
    }
    return $count;
}

sub orphans {
    return unless $subreaper && open my $file, '<', "/proc/self/task/$self/children";
    return grep { !$pids{$_} && !$removals{$_} } split ' ', <$file> // '';
}

1;
