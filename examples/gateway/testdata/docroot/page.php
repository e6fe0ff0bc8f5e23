<?php
// The same for everybody, for a while.
header('Cache-Control: public, s-maxage=300');
echo $_SERVER['SERVER_LABEL'], ' ', bin2hex(random_bytes(8)), "\n";
