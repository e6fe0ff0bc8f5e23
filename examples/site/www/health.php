<?php
// That Apache and PHP work, for the gateways' probe. Of the database it says nothing: if
// that is away it is so for all servers, and what the gateways have stored is served.
header('Cache-Control: no-store');
echo "ok\n";
