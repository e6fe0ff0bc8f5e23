<?php
usleep(1000 * min(5000, (int) ($_GET['ms'] ?? 100)));
header('Cache-Control: no-store');
echo $_SERVER['SERVER_LABEL'], "\n";
