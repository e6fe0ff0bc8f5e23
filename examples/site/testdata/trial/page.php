<?php
// A page for the tests: as many pieces as asked for, each of so many KiB and sent after so
// many milliseconds, and a last line by which a reader knows that it is whole. With ?out
// PHP runs out of memory after the first.
header('Cache-Control: no-store');
header('X-Web: ' . basename(dirname(__DIR__, 2)));
for ($i = 0; $i < (int) $_GET['pieces']; $i++) {
    usleep(1000 * (int) $_GET['wait']);
    echo str_repeat(str_repeat('x', 1023) . "\n", (int) $_GET['kb']);
    if ($i + 1 < (int) $_GET['pieces']) {
        flush();
    }
    if (isset($_GET['out'])) {
        str_repeat('x', 1 << 30);
    }
}
echo "whole\n";
