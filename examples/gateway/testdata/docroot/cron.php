<?php
header('Cache-Control: no-store');
echo 'cron at ', $_SERVER['SERVER_LABEL'], ' ', $_SERVER['REQUEST_URI'], "\n";
