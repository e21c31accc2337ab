# The folders of the spawner's tasks: made, looked into and removed by one who may do more than the task.
use strict;
use warnings;

our %removals;
my $PLAIN_FOLDER = 64;
# A file of more, in pieces all over a disk, takes as long as its pieces: all other tasks would wait for that.
my $QUICK_BYTES = 1 << 20;

# Nobody else can enter the folder before the last line, so no name in it is anybody's link. Most tasks have no inputs,
# and files of one text are one file with several names: making and removing files is most of what the folder costs.
sub make_folder {
    my ($task, @files) = @_;
    # What is there already is not this task's, and not to be removed with it.
    mkdir $task->{folder}, 0700 or return trouble('mkdir ' . delete $task->{folder});
    my %made;
    while (my ($name, $text) = splice @files, 0, 2) {
        my $path = "$task->{folder}/$name";
        next if defined $made{$text} && link $made{$text}, $path;
        $made{$text} = $path;
        sysopen my $file, $path, O_WRONLY | O_CREAT | O_EXCL, 0600 or return trouble("open $path");
        for (my $at = 0; $at < length $text;) {
            $at += syswrite($file, $text, length($text) - $at, $at) // return trouble("write $path");
        }
        chown @{$task->{user}}, $file if $task->{user};
    }
    !$task->{user} || chown @{$task->{user}}, $task->{folder} or return trouble("chown $task->{folder}");
    return undef;
}

# What the task has left of the files that are handed back, those that are its own and plain ones; three fields for each.
sub files_of {
    my ($task) = @_;
    my @wanted = @{$task->{outputs}} or return;
    # Most tasks leave nothing, and then this is all that is to be done with their folder.
    return ('') x (@wanted / 2 * 3) if is_removed($task);
    my @found;
    while (my ($name, $most) = splice @wanted, 0, 2) { push @found, read_own($task, $name, $most) }
    return @found;
}

sub is_removed {
    my ($task) = @_;
    return 1 unless defined $task->{folder};
    return '' if ((stat $task->{folder})[7] // 0) > $QUICK_BYTES || !rmdir $task->{folder};
    delete $task->{folder};
    return 1;
}

sub read_own {
    my ($task, $name, $most) = @_;
    my ($size, $bytes, $wrong) = ('', '', '');
    if (sysopen my $file, "$task->{folder}/$name", O_NOFOLLOW | O_NONBLOCK) {
        my ($mode, $owner, $length) = (stat $file)[2, 4, 7];
        my $is_plain = ($mode & 0170000) == 0100000;
        if (!$is_plain || $task->{user} && $owner != $task->{user}[0]) { $wrong = 'it is not a plain file of the task' }
        else {
            $size = $length;
            sysread $file, $bytes, $size if $size <= $most;
        }
    }
    elsif ($! == ELOOP)  { $wrong = 'it is a link' }
    elsif ($! != ENOENT) { $wrong = trouble('open') }
    return ($size, $bytes, $wrong);
}

# A few plain files are removed here; anything more by `rm`, first as the user whose links it may meet.
sub remove {
    my ($task) = @_;
    return if is_removed($task);
    my ($folder, $user) = @$task{'folder', 'user'};
    opendir my $listing, $folder or return;
    # No further than that: a task may leave millions, and all others would wait for their names.
    my @names;
    while (@names <= $PLAIN_FOLDER && defined(my $name = readdir $listing)) {
        push @names, $name if $name ne '.' && $name ne '..';
    }
    closedir $listing;
    my $is_quick = @names <= $PLAIN_FOLDER && ((stat $folder)[7] // 0) <= $QUICK_BYTES;
    my $bytes = 0;
    $bytes += (lstat "$folder/$_")[7] // 0 for $is_quick ? @names : ();
    $is_quick &&= $bytes <= $QUICK_BYTES;
    return if $is_quick && @names == (unlink map { "$folder/$_" } @names) && rmdir $folder;
    run_rm($folder, $user, $user ? 2 : 1);
}

sub run_rm {
    my ($folder, $user, $tries) = @_;
    my $pid = fork // return send_frame('n', 0, trouble("$folder could not be removed: fork"));
    if ($pid == 0) {
        open my $null, '>', '/dev/null';
        syscall SYS_dup3, fileno $null, $_, 0 for 1, 2;
        become_user(@$user) if $user;
        my $none = "\0" x 8;
        syscall SYS_rt_sigprocmask, 2, $none, 0, 8;
        no warnings 'exec';
        exec 'rm', '-rf', '--', $folder;
        syscall SYS_exit_group, 127;
    }
    $removals{$pid} = [$folder, $tries];
}

sub remove_rest {
    my ($folder, $tries) = @{delete $removals{$_[0]}};
    # The folder itself lies in one of ours.
    return if rmdir $folder or $! == ENOENT;
    return run_rm($folder, undef, $tries - 1) if $tries > 1;
    send_frame('n', 0, trouble("$folder could not be removed:"));
}

1;
