<?php
/*
Plugin Name: Purge by tag
Description: Names what a page is made of, for the gateways, and tells them when that changes.
*/

// Apache leads what is no file to index.php, so links need no index.php in them.
add_filter('got_url_rewrite', '__return_true');

// A page of one post depends on that post; a list, a feed and the front page on all.
add_action('template_redirect', function () {
    $tags = ['list'];
    if (is_singular()) {
        $tags = ['post-' . get_queried_object_id()];
    }
    header('X-Cache-Tags: ' . implode(',', $tags));
});

// site_purge has every gateway forget what has these tags, before the editor sees that it
// is saved: the first gateway that answers has told the others by then.
function site_purge(array $tags) {
    foreach (explode(',', getenv('SITE_GATEWAYS')) as $gateway) {
        $answer = wp_remote_request("https://$gateway/", [
            'method' => 'PURGE',
            'timeout' => 3,
            'sslcertificates' => getenv('SITE_CA'),
            'headers' => [
                'Host' => parse_url(WP_HOME, PHP_URL_HOST),
                'X-Cache-Tags-Pattern' => implode('|', $tags),
                'Prefer' => 'wait=1',
            ],
        ]);
        if (!is_wp_error($answer) && wp_remote_retrieve_response_code($answer) < 300) {
            return;
        }
        error_log("purge at $gateway: " . (is_wp_error($answer) ? $answer->get_error_message() : wp_remote_retrieve_body($answer)));
    }
}

// Once it is saved with all that belongs to it. Revisions and drafts are nobody's pages.
add_action('wp_after_insert_post', function ($id, $post, $update, $before) {
    if ($post->post_status === 'publish' || $before && $before->post_status === 'publish') {
        site_purge(["post-$id", 'list']);
    }
}, 10, 4);

// A comment is on its post's page, and among the latest ones.
foreach (['comment_post', 'edit_comment', 'wp_set_comment_status', 'deleted_comment'] as $change) {
    add_action($change, function ($id) {
        $comment = get_comment($id);
        if ($comment) {
            site_purge(['post-' . $comment->comment_post_ID, 'list']);
        }
    });
}
