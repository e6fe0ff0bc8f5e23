<?php
// Who the tier says it is, and what else it was told of that.
header('Cache-Control: no-store');
echo 'X-Remote-User: ', $_SERVER['HTTP_X_REMOTE_USER'] ?? '', "\n";
echo 'X-Seen: ', $_SERVER['HTTP_X_SEEN'] ?? '', "\n";
