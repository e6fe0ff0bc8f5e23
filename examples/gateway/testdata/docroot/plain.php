<?php
// States no lifetime.
header_remove('Cache-Control');
echo $_SERVER['SERVER_LABEL'], ' ', bin2hex(random_bytes(8)), "\n";
