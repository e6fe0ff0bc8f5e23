//go:build e2e

package site

import (
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/foretier/foretier/internal/browsertest"
	"github.com/foretier/foretier/internal/testkit"
)

const (
	editorName, editorPassword = "editor", "correct horse battery staple 7"

	everywhere = time.Second // after which a post is on all pages
)

// browser opens a page of the site by one of the gateways.
func (s *site) browser(gateway int, path string) *browsertest.Browser {
	s.t.Helper()
	return browsertest.Open(s.t, home+path, chromedp.IgnoreCertErrors,
		chromedp.Flag("host-resolver-rules", "MAP "+host+":443 "+s.gateways[gateway].Addr))
}

// is says that a page is there, and has what the selector wants.
func is(selector string) string {
	return fmt.Sprintf(`document.readyState == "complete" && !!document.querySelector(%q)`, selector)
}

// fill puts text into a field, whatever listens to that.
func fill(b *browsertest.Browser, selector, text string) {
	b.Run(fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})) })()`, selector, text))
}

// click clicks once that may be done: the page may still judge a password.
func click(b *browsertest.Browser, selector string) {
	b.Until(fmt.Sprintf(`!document.querySelector(%q).disabled`, selector))
	b.Run(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// install takes WordPress' own five minutes, and returns the browser of who is logged in
// then.
func (s *site) install() *browsertest.Browser {
	b := s.browser(0, "/wp-admin/install.php")
	b.Until(is("#weblog_title"))
	fill(b, "#weblog_title", "The shop's journal")
	fill(b, "#user_login", editorName)
	fill(b, "#pass1", editorPassword)
	b.Run(`const weak = document.querySelector("[name=pw_weak]"); if (weak) weak.checked = true; const second = document.querySelector("#pass2"); if (second) second.value = document.querySelector("#pass1").value`)
	fill(b, "#admin_email", "editor@shop.example")
	click(b, "#submit")
	b.Until(`document.body.innerText.includes("Success!")`)
	s.exec(0, "UPDATE site.wp_options SET option_value='0' WHERE option_name IN ('comment_previously_approved', 'comment_moderation', 'require_name_email')")

	b.Do(chromedp.Navigate(home + "/wp-login.php"))
	b.Until(is("#user_login"))
	fill(b, "#user_login", editorName)
	fill(b, "#user_pass", editorPassword)
	click(b, "#wp-submit")
	b.Until(is("#wpadminbar"))

	b.Do(chromedp.Navigate(home + "/wp-admin/options-permalink.php"))
	b.Until(is(`[value="/%postname%/"]`))
	click(b, `[value="/%postname%/"]`)
	click(b, "#submit")
	testkit.Within(s.t, testkit.Patience, "links are by name", func() bool {
		return s.ask(0, "SELECT option_value FROM site.wp_options WHERE option_name='permalink_structure'") == "/%postname%/"
	})
	return b
}

// upload uploads a picture by the page that has a form for it, and returns its path.
func (s *site) upload(b *browsertest.Browser, name string) string {
	file := filepath.Join(s.dir, name+".png")
	picture(s.t, file)
	b.Do(chromedp.Navigate(home + "/wp-admin/media-new.php?browser-uploader"))
	b.Until(is("#async-upload"))
	b.Do(chromedp.SetUploadFiles(chromedp.CSS("#async-upload"), []string{file}))
	click(b, "#html-upload")
	b.Until(`location.pathname.endsWith("/upload.php")`)
	return s.uploaded(name)
}

// uploaded returns the path of what was uploaded.
func (s *site) uploaded(name string) string {
	s.t.Helper()
	guid := s.ask(0, "SELECT guid FROM site.wp_posts WHERE post_type='attachment' AND guid LIKE '%"+name+"%' ORDER BY ID DESC LIMIT 1")
	u, err := url.Parse(guid)
	if err != nil || u.Path == "" {
		s.t.Fatalf("no upload %s: %q, %v", name, guid, err)
	}
	return u.Path
}

func picture(t *testing.T, file string) {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for x := range 64 {
		for y := range 64 {
			img.Set(x, y, color.RGBA{uint8(4 * x), uint8(4 * y), 128, 255})
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// publish publishes a post with a picture by the block editor, and returns its path.
// uploads says that the editor uploads the picture, too, instead of taking it from there.
func (s *site) publish(b *browsertest.Browser, title, picture string) (path string) {
	b.Do(chromedp.Navigate(home + "/wp-admin/post-new.php"))
	b.Until(`window.wp && wp.data && wp.data.select("core/editor") && wp.data.select("core/editor").getCurrentPostId() > 0`)
	content := fmt.Sprintf(`<!-- wp:image --><figure class="wp-block-image"><img src="%s" alt=""/></figure><!-- /wp:image --><!-- wp:paragraph --><p>What is new: %s.</p><!-- /wp:paragraph -->`, home+picture, title)
	b.Run(fmt.Sprintf(`wp.data.dispatch("core/editor").editPost({title: %q, content: %q, status: "publish"}); wp.data.dispatch("core/editor").savePost()`, title, content))
	b.Until(`wp.data.select("core/editor").didPostSaveRequestSucceed() && !wp.data.select("core/editor").isSavingPost()`)
	link, err := chromedp.Run(b, chromedp.Evaluate[string](`wp.data.select("core/editor").getPermalink()`))
	if err != nil {
		s.t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Path
}

// shows waits until both gateways show text on a page, and returns how long after since
// one was still asked that did not.
func (s *site) shows(path, text string, since time.Time) (late time.Duration) {
	s.t.Helper()
	for gateway := range s.gateways {
		c := s.client(gateway, true)
		for {
			asked := time.Since(since)
			res, body, err := get(c, path)
			if err == nil && res.StatusCode == 200 && strings.Contains(body, text) {
				break
			}
			if late = max(late, asked); late > 30*time.Second {
				s.t.Fatalf("%s at gateway %d lacks %q: %v", path, gateway, text, err)
			}
		}
	}
	return late
}

// TestE2EADay: a person's path through the site, with a crowd beside: what is published is
// there for all at once, with its picture, nobody sees what is another's, and what only the
// origin may do nobody else does.
func TestE2EADay(t *testing.T) {
	s := open(t)
	b := s.install()
	s.before()
	c := s.crowd("/", "/feed/", "/hello-world/", "/wp-includes/css/dist/block-library/style.min.css")

	for i := range 3 {
		title := fmt.Sprintf("News %d of today", i)
		picture := s.upload(b, fmt.Sprintf("picture-%d", i))
		c.add(picture) // at once, before rsync has come by
		path := s.publish(b, title, picture)
		since := time.Now()
		late := max(s.shows(path, title, since), s.shows("/", title, since))
		if late > everywhere {
			t.Errorf("%s was not everywhere after %v", path, late)
		}
		t.Logf("%s is everywhere after %v", path, late.Round(time.Millisecond))
		c.add(path)

		reader := s.browser(1, path)
		reader.Until(fmt.Sprintf(`document.querySelector("img[src$='%s']")?.naturalWidth == 64`, filepath.Base(picture)))
		comment := fmt.Sprintf("I like number %d", i)
		if i > 0 {
			continue // a second comment within 15 seconds is refused
		}
		reader.Until(is("#comment"))
		fill(reader, "#comment", comment)
		fill(reader, "#author", "A visitor")
		fill(reader, "#email", "a@visitor.example")
		click(reader, "#commentform [type=submit]")
		reader.Until(fmt.Sprintf(`document.body.innerText.includes(%q)`, comment))
		if late := s.shows(path, comment, time.Now()); late > everywhere {
			t.Errorf("the comment was not everywhere after %v", late)
		}
	}

	// The block editor's own upload, by REST.
	name := "from-the-editor"
	b.Do(chromedp.Navigate(home + "/wp-admin/post-new.php"))
	b.Until(`window.wp && wp.data && wp.data.select("core/editor") && wp.data.select("core/editor").getCurrentPostId() > 0`)
	b.Run(fmt.Sprintf(`(() => { const canvas = document.createElement("canvas"); canvas.width = canvas.height = 8; canvas.toBlob(blob => { const form = new FormData(); form.append("file", blob, %q); wp.apiFetch({path: "/wp/v2/media", method: "POST", body: form}).then(r => window.uploaded = r.source_url, e => window.uploaded = "failed: " + JSON.stringify(e)) }) })()`, name+".png"))
	b.Until(`!!window.uploaded`)
	if path := s.uploaded(name); path != "" {
		c.add(path)
	}
	s.basket()
	if out := s.editorReads(b); out != "" {
		t.Errorf("the editor is shown %s", out)
	}
	last(3 * copies) // and rsync has come by
	c.end()
	f := c.take()
	t.Logf("%d requests of the crowd, %d failed, the slowest took %v", f.asked, f.failed, f.slowest.Round(time.Millisecond))
	for _, why := range append(f.why, f.rare...) {
		t.Error(why)
	}
	if f.cut > 0 {
		t.Errorf("%d pages were cut off", f.cut)
	}
	if f.asked < 1000 {
		t.Errorf("the crowd asked %d times only", f.asked)
	}
	c.fair()
	s.onlyAtTheOrigin()
}

// before asks as it is where there is one server yet, and has WordPress do what it does by
// itself.
func (s *site) before() {
	one := s.one()
	c := s.through(one.Addr, true)
	for path, want := range map[string]string{"/": "The shop's journal", "/wp-login.php": "user_login"} {
		if res, body, err := get(c, path); err != nil || res.StatusCode != 200 || !strings.Contains(html.UnescapeString(body), want) {
			s.t.Errorf("%s by the first gateway: %v, %.200q", path, err, body)
		}
	}
	one.Kill()
	s.run("sh", "-c", s.cron)
}

// basket fills a basket by both gateways in turns: PHP's session is where all find it.
func (s *site) basket() {
	jar := &jar{}
	for i := 1; i <= 6; i++ {
		client := s.client(i%2, false)
		client.Jar = jar
		res, err := client.Post(home+"/basket.php", "application/x-www-form-urlencoded", strings.NewReader("item=1"))
		if err != nil {
			s.t.Fatal(err)
		}
		res.Body.Close()
		if _, body, err := get(client, "/basket.php"); err != nil || !strings.Contains(body, fmt.Sprintf(`"items":%d}`, i)) {
			s.t.Errorf("the basket, %d: %q, %v", i, body, err)
		}
	}
}

// editorReads returns what is wrong with the front page as who is logged in sees it.
func (s *site) editorReads(b *browsertest.Browser) string {
	b.Do(chromedp.Navigate(home + "/"))
	b.Until(is("body"))
	text, err := chromedp.Run(b, chromedp.Evaluate[string](`document.querySelector("#wpadminbar") ? "" : "no bar of who is logged in: " + document.body.className`))
	if err != nil {
		return err.Error()
	}
	return text
}

// adminsOwn is what only the origin may be asked, by a line of a log of Apache.
var adminsOwn = regexp.MustCompile(`(?i) /(index\.php/)?(wp-admin(/|$|\?)|wp-login|wp-cron|xmlrpc|wp-json/wp/v2/media)`)

// onlyAtTheOrigin reads what the application servers have logged.
func (s *site) onlyAtTheOrigin() {
	s.t.Helper()
	for i, w := range s.web {
		log, err := os.ReadFile(filepath.Join(w.state, "access.log"))
		if err != nil {
			s.t.Fatal(err)
		}
		admin, lines := 0, 0
		for line := range strings.Lines(string(log)) {
			lines++
			if !adminsOwn.MatchString(line) || strings.Contains(line, "/wp-admin/admin-ajax.php") || strings.Contains(line, "/wp-admin/admin-post.php") {
				continue
			}
			if admin++; i > 0 && admin <= 5 {
				s.t.Errorf("web%d was asked: %s", i, line)
			}
		}
		if lines == 0 || i == 0 && admin == 0 {
			s.t.Errorf("web%d has logged %d lines, %d of admin's", i, lines, admin)
		}
		s.t.Logf("web%d: %d requests, %d of admin's", i, lines, admin)
	}
}
