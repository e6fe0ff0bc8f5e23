<?php
header('Cache-Control: public, max-age=600');
header('Cache-Tag: menu');
echo uniqid();
