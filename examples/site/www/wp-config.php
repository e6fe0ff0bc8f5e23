<?php
// One configuration for all servers: what differs between them is in the environment.

// The program examples/database stands between PHP and MariaDB, and follows a failover.
define('DB_HOST', getenv('SITE_DATABASE') ?: '127.0.0.1:3306');
define('DB_NAME', 'site');
define('DB_USER', 'site');
define('DB_PASSWORD', getenv('SITE_DATABASE_PASSWORD'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

// HTTPS ends at the gateway, which says so, and lets nobody else say it.
if (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https') {
    $_SERVER['HTTPS'] = 'on';
    $_SERVER['SERVER_PORT'] = $_SERVER['HTTP_X_FORWARDED_PORT'] ?? '443';
}
// So is the client's address: the gateway's is in REMOTE_ADDR.
if (isset($_SERVER['HTTP_X_FORWARDED_FOR'])) {
    $chain = array_map('trim', explode(',', $_SERVER['HTTP_X_FORWARDED_FOR']));
    $_SERVER['REMOTE_ADDR'] = end($chain);
}
define('WP_HOME', getenv('SITE_URL') ?: 'https://shop.example');
define('WP_SITEURL', WP_HOME);

// Cron runs at the origin alone: by a timer that asks for /wp-cron.php, not by visitors.
define('DISABLE_WP_CRON', true);
// What is installed comes by rsync from the origin; nobody changes programs by the web.
define('DISALLOW_FILE_MODS', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('WP_ACCESSIBLE_HOSTS', preg_replace('/:\d+/', '', getenv('SITE_GATEWAYS') ?: '')); // which are told of changes

// Keys that are the same on every server, or nobody stays logged in. Make your own.
foreach (['AUTH_KEY', 'SECURE_AUTH_KEY', 'LOGGED_IN_KEY', 'NONCE_KEY', 'AUTH_SALT', 'SECURE_AUTH_SALT', 'LOGGED_IN_SALT', 'NONCE_SALT'] as $name) {
    define($name, hash('sha256', $name . getenv('SITE_DATABASE_PASSWORD')));
}

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
