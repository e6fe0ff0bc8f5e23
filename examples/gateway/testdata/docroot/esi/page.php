<?php
// A page for ten minutes, in gzip for whoever takes that.
ob_start('ob_gzhandler');
header('Cache-Control: public, max-age=600');
header('Cache-Tag: page');
if (!str_contains($_SERVER['HTTP_SURROGATE_CAPABILITY'] ?? '', 'ESI/1.0')) {
	exit('nobody composes');
}
header('Surrogate-Control: content="ESI/1.0"');
?>
<!doctype html><title>shop</title>
<p id="page"><?= uniqid() ?></p>
<p id="menu"><esi:include src="http://<?= $_SERVER['HTTP_HOST'] ?>/esi/menu.php" /></p>
<p id="cart"><esi:include src="cart.php" onerror="continue"/></p>
<p id="admin"><esi:include src="/admin/index.php"/></p>
<p id="none"><esi:include src="/none.php"/></p><esi:remove>nobody composes</esi:remove><!--esi <p>composed</p>-->
