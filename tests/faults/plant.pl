# Plants one fault: plant.pl FAULT TREE. With TREE and no --write it only shows that it could.
#
# A fault is a text file: lines `key: value`, then the lines that go, each behind a `-`, and those
# that come instead, each behind a `+`. The lines that go are in the file exactly once.
use strict;
use warnings;

my ($fault, $tree, $write) = @ARGV;
my ($old, $new, %head) = ("", "");
open(my $in, "<", $fault) or die "$fault: $!\n";
while (my $line = <$in>) {
    if ($line =~ /^-(.*)/s) { $old .= $1 }
    elsif ($line =~ /^\+(.*)/s) { $new .= $1 }
    elsif ($line =~ /^(\w+): (.+)$/) { $head{$1} = $2 }
    else { die "$fault: line $. is none of a fault\n" }
}
for my $key (qw(breaks file tests long)) {
    die "$fault: no $key\n" unless $head{$key};
}
my $path = "$tree/$head{file}";
open(my $source, "<", $path) or die "$path: $!\n";
my $text = do { local $/; <$source> };
my $count = () = "\n$text" =~ /\n\Q$old\E/g;
die "$fault: the lines that go are $count times in $head{file}\n" unless $count == 1;
exit unless $write;
"\n$text" =~ /\n\Q$old\E/;
substr($text, $-[0], length $old) = $new;
open(my $out, ">", $path) or die "$path: $!\n";
print $out $text;
