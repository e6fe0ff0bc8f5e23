<?php
// An order: once it is acknowledged it is in the database, whatever becomes of the servers.
require __DIR__ . '/wp-load.php';
header('Cache-Control: no-store');
if ($_SERVER['REQUEST_METHOD'] !== 'POST' || !preg_match('/^[a-z0-9-]{1,40}$/', $_POST['id'] ?? '')) {
    status_header(400);
    exit('want POST with an id');
}
if ($wpdb->insert('orders', ['id' => $_POST['id']]) !== 1) {
    status_header(503);
    exit('not stored: ' . $wpdb->last_error);
}
echo 'stored ', $_POST['id'], "\n";
