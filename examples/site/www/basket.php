<?php
// A visitor's basket, in PHP's session on Redis: whichever server is asked, it is the same.
session_start();
header('Cache-Control: no-store');
header('Content-Type: application/json');
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $_SESSION['items'] = ($_SESSION['items'] ?? 0) + 1;
}
echo json_encode(['items' => $_SESSION['items'] ?? 0]), "\n";
