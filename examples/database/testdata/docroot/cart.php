<?php
// A cart that counts what was put into it. It says how many only once the
// session is stored; PHP itself only warns if it is not.
set_error_handler(function ($level, $text) { throw new ErrorException($text); });
try {
    if (!session_start()) {
        throw new ErrorException('no session');
    }
    $n = $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
    session_write_close();
    echo $n;
} catch (Throwable $e) {
    http_response_code(503);
    echo $e->getMessage();
}
