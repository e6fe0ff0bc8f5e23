<?php
// Which server answers, and what the tier told it.
header('Cache-Control: no-store');
header('Content-Type: application/json');
echo json_encode([
    'server' => getenv('SERVER_LABEL') ?: $_SERVER['SERVER_LABEL'],
    'for' => $_SERVER['HTTP_X_FORWARDED_FOR'] ?? '',
    'proto' => $_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '',
    'host' => $_SERVER['HTTP_HOST'] ?? '',
    'cookie' => $_SERVER['HTTP_COOKIE'] ?? '',
]), "\n";
