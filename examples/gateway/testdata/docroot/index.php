<?php
header('Cache-Control: no-store');
echo 'front controller at ', $_SERVER['SERVER_LABEL'], ' ', $_SERVER['PATH_INFO'] ?? '', "\n";
