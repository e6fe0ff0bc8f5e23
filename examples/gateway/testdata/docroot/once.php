<?php
// Counts how often an order arrives.
$id = preg_replace('/[^a-z0-9]/', '', $_GET['id'] ?? '');
file_put_contents($_SERVER['ORDERS_FILE'], $id . "\n", FILE_APPEND | LOCK_EX);
header('Cache-Control: no-store');
echo "ok\n";
