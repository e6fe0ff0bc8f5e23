vcl 4.1;
{{- if .Shop}}
import directors;
import cookie;
{{- end}}
{{- range $i, $b := .Split}}
backend web{{$i}} { .host = "{{.Host}}"; .port = "{{.Port}}"; }
{{- end}}
{{- if .Admin}}
backend origin { .host = "{{.SplitOrigin.Host}}"; .port = "{{.SplitOrigin.Port}}"; }
{{- end}}
{{- if .Shop}}
sub vcl_init {
	new apps = directors.hash();
	{{- range $i, $b := .Split}}
	apps.add_backend(web{{$i}}, 1);
	{{- end}}
}
{{- end}}
sub vcl_recv {
	if (req.http.Upgrade ~ "(?i)websocket") {
		return (pipe);
	}
{{- if .Admin}}
	if (req.url ~ "^/admin") {
		set req.backend_hint = origin;
		return (pass);
	}
{{- end}}
{{- if .Shop}}
	cookie.parse(req.http.Cookie);
	set req.backend_hint = apps.backend(cookie.get("session"));
{{- end}}
{{- if .Cache}}
	if (req.http.Cookie) {
		set req.http.Cookie = regsuball(req.http.Cookie, "(^|;\s*)_g[a-z_]*=[^;]*", "");
		if (req.http.Cookie ~ "^[;\s]*$") {
			unset req.http.Cookie;
		}
	}
{{- else}}
	return (pass);
{{- end}}
}
{{- if .Trust}}
sub vcl_hash {
	hash_data(req.http.X-Forwarded-Proto);
}
{{- end}}
sub vcl_pipe {
	set bereq.http.Upgrade = req.http.Upgrade;
	set bereq.http.Connection = req.http.Connection;
}
