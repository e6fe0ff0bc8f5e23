<?php
header('Cache-Control: no-store');
echo 'admin at ', $_SERVER['SERVER_LABEL'], ' ', $_SERVER['REQUEST_URI'], "\n";
