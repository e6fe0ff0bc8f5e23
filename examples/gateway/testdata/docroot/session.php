<?php
// A visitor's own page: PHP's session, kept in a file on this server alone.
session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
header('Content-Type: application/json');
echo json_encode(['server' => $_SERVER['SERVER_LABEL'], 'visits' => $_SESSION['visits']]), "\n";
