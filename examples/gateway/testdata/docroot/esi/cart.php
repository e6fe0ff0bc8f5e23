<?php
header('Cache-Control: private, no-store');
echo htmlspecialchars($_COOKIE['user'] ?? 'nobody');
