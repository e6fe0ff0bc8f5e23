<?php
/*
Plugin Name: Topics
Description: A line of topics under each page, kept in memcached for all servers.
*/

// What memcached keeps only saves the database work, so a page waits 100 ms at most to
// reach it and 100 ms for an answer (PHP's own default is five seconds), and leaves it
// alone for two seconds then.
function site_shared() {
    $shared = new Memcached('site'); // kept by each process of Apache
    if (!$shared->getServerList()) {
        $shared->setOptions([
            Memcached::OPT_TCP_NODELAY => true,
            Memcached::OPT_CONNECT_TIMEOUT => 100,
            Memcached::OPT_POLL_TIMEOUT => 100,
            Memcached::OPT_SEND_TIMEOUT => 100000, // microseconds
            Memcached::OPT_RECV_TIMEOUT => 100000,
            Memcached::OPT_RETRY_TIMEOUT => 2,
        ]);
        [$host, $port] = explode(':', getenv('SITE_MEMCACHED'));
        $shared->addServer($host, (int) $port);
    }
    return $shared;
}

add_action('wp_footer', function () {
    $topics = site_shared()->get('topics');
    if ($topics === false) {
        $topics = get_terms(['taxonomy' => 'category', 'fields' => 'names']);
        site_shared()->set('topics', $topics, 60);
    }
    echo '<p class="topics">', esc_html(implode(', ', $topics)), "</p>\n";
});
