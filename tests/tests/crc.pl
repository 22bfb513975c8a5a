#!/usr/bin/perl
# Checks both CRCs of each packet of a capture (pcap, link type ERF) with code that is not ours: crc.pl FILE.
# Prints how many packets there were, and fails at the first one that is wrong.
use strict;
use warnings;
use Digest::CRC;

open(my $file, '<:raw', $ARGV[0]) or die "cannot open $ARGV[0]: $!\n";
read($file, my $start, 24) == 24 or die "no capture\n";
my ($magic, $link) = unpack('V x16 V', $start);
($magic == 0xa1b2c3d4 || $magic == 0xa1b23c4d) && $link == 197 or die "no little-endian pcap file of link type ERF\n";
my $packets = 0;
while (read($file, my $record_header, 16) == 16) {
    read($file, my $header, 16) == 16 or die "packet $packets: cut off\n";
    my ($type, $record, $wire) = (unpack('C', substr($header, 8, 1)), unpack('x10 n x2 n', $header));
    $type == 21 or die "packet $packets: ERF type $type is not InfiniBand\n";
    $record == 16 + $wire or die "packet $packets: $wire bytes in a record of $record\n";
    read($file, my $packet, $wire) == $wire or die "packet $packets: cut off\n";
    my ($body, $icrc, $vcrc) = (substr($packet, 0, -6), substr($packet, -6, 4), substr($packet, -2));

    # What switches and routers may change counts as ones in the invariant CRC (IBA vol. 1, 7.8.1).
    my $invariant = $body;
    substr($invariant, 0, 1) |= "\xf0";
    my $bth = 8;
    if ((ord(substr($body, 1, 1)) & 3) == 3) {
        substr($invariant, 8, 4) |= "\x0f\xff\xff\xff";
        substr($invariant, 15, 1) = "\xff";
        $bth = 48;
    }
    substr($invariant, $bth + 4, 1) = "\xff";
    my $crc32 = Digest::CRC->new(type => 'crc32');
    $crc32->add($invariant);
    pack('V', $crc32->digest) eq $icrc or die "packet $packets: the invariant CRC is wrong\n";

    my $crc16 = Digest::CRC->new(
        width => 16, poly => 0x100b, init => 0xffff, xorout => 0xffff, refin => 1, refout => 1, cont => 0);
    $crc16->add($body . $icrc);
    pack('v', $crc16->digest) eq $vcrc or die "packet $packets: the variant CRC is wrong\n";
    $packets++;
}
print "$packets\n";
